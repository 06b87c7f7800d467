import os
import pickle

import numpy as np
import pytest

from core.errors import UserError
from core.prepare.unpickle import load_pickle
from tests.prepare.fake_cifar import write_pickles
from tests.prepare.malicious import Malicious


def test_pickles_of_old_numpy_load_without_a_warning(tmp_path):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = pickle.dumps(array, 2)
    flags = b"\x89\x88\x87"  # (False, True) as NumPy writes it today; it used to be (0, 1)
    assert content.count(flags) == 1
    old = content.replace(flags, b"K\x00K\x01\x87").replace(b"numpy._core", b"numpy.core")
    (tmp_path / "old").write_bytes(old)
    assert (load_pickle(tmp_path / "old") == array).all()


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("call", [os.system, eval, np.load, getattr])
def test_malicious_pickle_is_refused_and_does_not_run(tmp_path, parts, read_cifar, call, protocol):
    mark = tmp_path / "mark"
    bad = {**parts["train"], "data": Malicious(call, f"touch {mark}")}
    source = write_pickles(tmp_path, {**parts, "train": pickle.dumps(bad, protocol)})
    with pytest.raises(UserError, match=r"train is refused: it asks for .*; get the file from its publisher\.$"):
        read_cifar(source)
    assert not mark.exists()


@pytest.mark.parametrize("length", [0, 1, 100, 100_000])
def test_truncated_pickle(tmp_path, parts, read_cifar, length):
    cut = pickle.dumps(parts["train"], 2)[:length]
    with pytest.raises(UserError, match="train is not a readable pickle"):
        read_cifar(write_pickles(tmp_path, {**parts, "train": cut}))
