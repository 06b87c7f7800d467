"""What a pickle of plain data may hold, and the objects that stand for NumPy's while it is read.

A pickle is a program that calls what it names. The names that NumPy writes for arrays get functions of this file, so
no bytes of a file reach NumPy's own constructors and `__setstate__`, which trust them: a crafted dtype makes those read
any address. Of dtypes the plain ones exist: truth values, integers, floats, byte strings, text.
"""

from __future__ import annotations

import math
import pickle
import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

# Damaged bytes make the unpickler fail in all these ways.
DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RuntimeError,
    AssertionError,
    struct.error,
)
PLAIN = re.compile(r"([<>|=]?)(b1|\?|[iu][1248]|f[248]|[SU][1-9]\d{0,5})")
MOST_AXES = 8
LONGEST_AXIS = 1 << 40


class Refused(Exception):
    """A pickle asks for something that is not data; the text names it."""


class Known:
    """A name that a pickle may use, and what is called for it; nothing of it can be changed."""

    __slots__ = ("_call", "_name")
    _name: str
    _call: Callable[..., Any]

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise Refused(f"a change of {self._name}")

    def __setstate__(self, state: Any) -> None:
        raise Refused(f"a change of {self._name}")


class Dtype:
    """Stands for `numpy.dtype`."""

    __slots__ = ("value",)

    def __init__(self, text: Any, align: Any = False, copy: Any = True) -> None:
        plain = PLAIN.fullmatch(text) if isinstance(text, str) else None
        if plain is None:
            raise Refused(f"numpy.dtype({text!r:.40})")
        self.value = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        _, order, subarray, names, fields, size, *_ = state
        whole = size in (-1, self.value.itemsize) and not (subarray or names or fields)
        if not whole or order not in ("<", ">", "=", "|") or len(state) > 8:
            raise Refused("a numpy.dtype of several parts")
        if order in "<>":
            self.value = self.value.newbyteorder(order)


class Array:
    """Stands for `numpy.ndarray`: empty until its state is set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.zeros(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        shape, dtype, columns_first, raw = state[-4:]
        self.value = array_of(raw, dtype, shape, "F" if columns_first else "C").value


def array_of(raw: Any, dtype: Any, shape: Any, order: str = "C") -> Array:
    """An array around its bytes; they are not copied."""
    if not isinstance(dtype, Dtype):
        raise Refused("an array of Python objects")
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(raw, bytes | bytearray):
        raise Refused("an array of Python objects")
    axes = all(type(length) is int and 0 <= length <= LONGEST_AXIS for length in shape)
    if not axes or len(shape) > MOST_AXES or order not in ("C", "F"):
        raise ValueError("no shape of an array")
    if math.prod(shape) * dtype.value.itemsize != len(raw):
        raise ValueError("not the bytes of an array of this shape")
    array = Array()
    array.value = np.ndarray(tuple(shape), dtype.value, raw, order="F" if order == "F" else "C")
    return array


def encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """The `_codecs.encode` that old protocols call to store bytes."""
    if not isinstance(text, str):
        raise TypeError("no text")
    return text.encode("latin1")


def _no_array(*arguments: Any) -> Any:
    """`numpy.ndarray` is named as the class of an array, and never called."""
    raise Refused("numpy.ndarray(...)")


def _reconstruct(kind: Any, shape: Any, code: Any) -> Array:
    if kind is not NDARRAY:
        raise Refused(f"an array of another class, {type(kind).__name__}")
    return Array()


def _no_bytes(*arguments: Any) -> bytes:
    """What old protocols call for bytes of length 0."""
    if arguments:
        raise Refused("bytes(...)")
    return b""


def _scalar(dtype: Any, raw: Any = None) -> Any:
    return array_of(raw, dtype, (1,)).value[0].item()


NDARRAY = Known("numpy.ndarray", _no_array)
# What a pickle may call, by the names that old and new NumPy write into it.
KNOWN: dict[tuple[str, str], Known] = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Known("numpy.dtype", Dtype),
    ("_codecs", "encode"): Known("_codecs.encode", encoded),
    ("__builtin__", "bytes"): Known("bytes", _no_bytes),
}
for _core in ("numpy.core", "numpy._core"):
    KNOWN[f"{_core}.multiarray", "_reconstruct"] = Known("numpy's _reconstruct", _reconstruct)
    KNOWN[f"{_core}.multiarray", "scalar"] = Known("numpy's scalar", _scalar)
    KNOWN[f"{_core}.numeric", "_frombuffer"] = Known("numpy's _frombuffer", array_of)


class _DataUnpickler(pickle.Unpickler):
    """Unpickles arrays, strings, bytes, numbers, lists and dicts, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise Refused(f"{module}.{name}")
        return KNOWN[module, name]


def read_data(file: BinaryIO) -> Any:
    """The data of a pickle, with an `Array` for each array; strings of Python 2 are read as latin-1.

    Raises:
        Refused: where it asks for anything but data.
    """
    return _DataUnpickler(file, encoding="latin1").load()
