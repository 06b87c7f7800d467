import os
import pickle
import struct
import warnings
from contextlib import suppress

import numpy as np
import pytest

from core.errors import UserError
from core.prepare.pickle_index import LONG, Contents, index_pickle
from tests.prepare.malicious import Malicious

RNG = np.random.default_rng(0)
ITEMS = [RNG.bytes(length) for length in (1, 67, LONG - 1, LONG, LONG + 1, 5_000, 70_000, 300_000)]
OLD_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
OLD_DTYPE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def python2_pickle(items):
    """What cPickle of Python 2 wrote for a list of arrays [L, 1], in its binary protocol."""
    out = [b"\x80\x02]("]
    for item in items:
        short = len(item) < 256
        string = b"U" + bytes([len(item)]) if short else b"T" + struct.pack("<i", len(item))
        shape = b"J" + struct.pack("<i", len(item)) + b"K\x01\x86"
        out += [OLD_ARRAY, b"(K\x01", shape, OLD_DTYPE, b"\x89", string, item, b"tb"]
    return b"".join(out) + b"e."


def written(tmp_path, content):
    (tmp_path / "x.pkl").write_bytes(content)
    return tmp_path / "x.pkl"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["bytes", "bytearray", "array", "column"])
def test_items_of_every_protocol(tmp_path, protocol, kind):
    make = {
        "bytes": bytes,
        "bytearray": bytearray,
        "array": lambda item: np.frombuffer(item, np.uint8),
        "column": lambda item: np.frombuffer(item, np.uint8)[:, None],
    }[kind]
    if kind == "bytearray" and protocol < 5:
        pytest.skip("old protocols call bytearray")
    contents = index_pickle(written(tmp_path, pickle.dumps([make(item) for item in ITEMS], protocol)))
    assert list(contents) == ITEMS
    assert list(contents.select([3, 1])) == [ITEMS[3], ITEMS[1]]


def test_arrays_of_python_2(tmp_path):
    content = python2_pickle(ITEMS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [array.tobytes() for array in pickle.loads(content, encoding="latin1")] == ITEMS
    assert list(index_pickle(written(tmp_path, content))) == ITEMS


def test_long_items_stay_in_the_file(tmp_path):
    contents = index_pickle(written(tmp_path, pickle.dumps(ITEMS)))
    kept = [item for item in vars(contents)["_items"] if isinstance(item, bytes)]
    assert [len(item) for item in kept] == [1, 67, LONG - 1]
    assert isinstance(contents, Contents)


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("call", [os.system, eval, np.load, getattr, bytearray])
def test_nothing_is_called(tmp_path, call, protocol):
    mark = tmp_path / "mark"
    content = pickle.dumps([Malicious(call, f"touch {mark}")], protocol)
    with pytest.raises(UserError, match=r"is refused: it asks for .*; get the file from its publisher\.$"):
        index_pickle(written(tmp_path, content))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": ITEMS}, "is not a list of images"),
        ([1], "is not a list of images"),
        ([[b"x"]], "is not a list of images"),
        ([np.zeros(300, np.int64)], "asks for an array of int64"),
        ([np.zeros(3, np.float32)], "asks for an array of float32"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_other_contents(tmp_path, value, message, protocol):
    with pytest.raises(UserError, match=message):
        index_pickle(written(tmp_path, pickle.dumps(value, protocol)))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_any_cut_is_one_sentence(tmp_path, protocol):
    content = pickle.dumps([np.frombuffer(item, np.uint8) for item in ITEMS[:6]], protocol)
    for length in [*range(0, 200), *range(200, len(content), 97), len(content) - 1]:
        with pytest.raises(UserError, match="not a readable pickle, perhaps cut short"):
            index_pickle(written(tmp_path, content[:length]))


def test_any_flipped_byte_is_one_sentence_or_other_bytes(tmp_path):
    content = pickle.dumps([np.frombuffer(item, np.uint8) for item in ITEMS[:3]], 2)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x15
        with suppress(UserError):
            list(index_pickle(written(tmp_path, bytes(damaged))))
