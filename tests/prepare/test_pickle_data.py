"""Arrays of every plain type are read as NumPy reads them; what could mislead NumPy is refused."""

import io
import pickle

import numpy as np
import pytest

from core.prepare.pickle_data import DAMAGE, Array, Refused, read_data

ARRAYS = [
    np.arange(6, dtype=np.uint8).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.arange(3, dtype=">i4"),
    np.array(["a", "bcd"]),
    np.array([b"a", b"bcd"]),
    np.array([True, False]),
    np.zeros((0, 3)),
    np.array(3.5),
]
# Opcodes: numpy.dtype("O8"), numpy.ndarray, and what BUILD takes.
DTYPE = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR"
NDARRAY = b"cnumpy\nndarray\n"


def read(content):
    return read_data(io.BytesIO(content))


@pytest.mark.parametrize("array", ARRAYS, ids=[str(a.dtype) for a in ARRAYS])
@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_numpys(array, protocol):
    entry = read(pickle.dumps({"x": array}, protocol))["x"]
    assert isinstance(entry, Array)
    assert entry.value.dtype == array.dtype
    assert np.array_equal(entry.value, array)


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_of_numpy_become_pythons(protocol):
    values = [np.int64(-3), np.float32(0.5), np.bool_(True), np.str_("ab"), np.uint8(255)]
    assert read(pickle.dumps(values, protocol)) == [-3, 0.5, True, "ab", 255]


CRAFTED = {
    "objects": DTYPE % b"O8",
    "objects with a state": DTYPE % b"O8" + b"(I3\nS'<'\nNNNI8\nI8\nI0\ntb",
    "raw memory": DTYPE % b"V8",
    "fields": DTYPE % b"u1" + b"(I3\nS'|'\nN(S'a'\nt(dS'a'\n(" + DTYPE % b"u1" + b"I99999\ntsI8\nI1\nI0\ntb",
    "a subarray": DTYPE % b"u1" + b"(I3\nS'|'\n(" + DTYPE % b"u1" + b"(I99\nttNNI99\nI1\nI0\ntb",
    "another size": DTYPE % b"u1" + b"(I3\nS'|'\nNNNI1000000\nI1\nI0\ntb",
    "direct array": NDARRAY + b"((I4\ntS'O'\nS'12345678'\ntR",
    "direct array of bytes": NDARRAY + b"((I4\ntS'u1'\ntR",
    "another class": b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR",
    "a change of a function": b"cnumpy._core.multiarray\n_reconstruct\n(N(dS'__code__'\nNstb",
    "a dtype as text": b"cnumpy._core.numeric\n_frombuffer\n(S'12345678'\nS'O'\n(I1\ntS'C'\ntR",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_types_are_refused(name):
    with pytest.raises(Refused):
        read(b"\x80\x02" + CRAFTED[name] + b".")


OLD = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


@pytest.mark.parametrize(
    ("shape", "raw"),
    [(b"(I5\nt", b"S'1234'\n"), (b"(I-4\nt", b"S'1234'\n"), (b"(I4611686018427387904\nI4\nt", b"S''\n")],
)
def test_arrays_of_other_bytes_than_their_shape_are_damaged(shape, raw):
    content = b"\x80\x02" + OLD + b"(I1\n" + shape + DTYPE % b"u1" + b"I00\n" + raw + b"tb."
    with pytest.raises(DAMAGE):
        read(content)


def test_a_list_of_objects_is_no_array():
    content = b"\x80\x02" + OLD + b"(I1\n(I1\nt" + DTYPE % b"u1" + b"I00\n(I5\nltb."
    with pytest.raises(Refused, match="an array of Python objects"):
        read(content)
