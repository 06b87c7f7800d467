import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from core.errors import UserError
from core.prepare.cifar import read_cifar_fs
from core.prepare.unpickle import load_pickle, read_archive
from tests.prepare.fake_cifar import PER_CLASS, make_parts, write_pickles, write_tar


@pytest.fixture(scope="module")
def parts():
    return make_parts()


def test_pickles_of_old_numpy_load_without_a_warning():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = pickle.dumps(array, 2)
    flags = b"\x89\x88\x87"  # (False, True) as NumPy writes it today; it used to be (0, 1)
    assert content.count(flags) == 1
    old = content.replace(flags, b"K\x00K\x01\x87").replace(b"numpy._core", b"numpy.core")
    assert (load_pickle(old, "old") == array).all()


class Malicious:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("call", [os.system, eval, np.load, getattr])
def test_malicious_pickle_is_refused_and_does_not_run(tmp_path, parts, call, protocol):
    mark = tmp_path / "mark"
    bad = {**parts["train"], "data": Malicious(call, f"touch {mark}")}
    source = write_pickles(tmp_path, {**parts, "train": pickle.dumps(bad, protocol)})
    with pytest.raises(UserError, match=r"train is refused: it asks for .*; get the file from its publisher\.$"):
        read_cifar_fs(source, PER_CLASS)
    assert not mark.exists()


@pytest.mark.parametrize("compression", ["gz", "xz"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_archive(tmp_path, parts, compression, share):
    path = write_tar(tmp_path, parts, compression)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"not a readable tar archive|lacks the file"):
        read_cifar_fs(path, PER_CLASS)


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_flipped_bit_in_an_archive(tmp_path, parts, compression):
    path = write_tar(tmp_path, parts, compression)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a readable tar archive"):
        read_cifar_fs(path, PER_CLASS)


@pytest.mark.parametrize("length", [0, 1, 100, 100_000])
def test_truncated_pickle(tmp_path, parts, length):
    cut = pickle.dumps(parts["train"], 2)[:length]
    with pytest.raises(UserError, match="train is not a readable pickle"):
        read_cifar_fs(write_pickles(tmp_path, {**parts, "train": cut}), PER_CLASS)


def test_archive_members_that_are_not_plain_files_or_too_large(tmp_path):
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("a/train", tarfile.SYMTYPE), ("b/train", tarfile.DIRTYPE), ("../../test", tarfile.REGTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO())
    assert read_archive(path, ("train", "test")) == {"test": b""}
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("train")
        member.size = 11
        tar.addfile(member, io.BytesIO(bytes(11)))
    with pytest.raises(UserError, match="train of 11 bytes, more than the 10 allowed"):
        read_archive(path, ("train",), limit=10)
