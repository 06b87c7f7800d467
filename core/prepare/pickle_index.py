"""Find where the long byte strings of a pickle lie in its file, so that a list of images is never in memory.

The pickle is executed as in `pickle_data`, but by the standard library's unpickler written in Python, but a byte
string of `LONG` bytes or more is stepped over, and a `Span` of the file takes its place. An array of bytes is
represented by its content; nothing else may be called.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import UserError
from . import isolated
from .pickle_data import NDARRAY, Dtype, Known, Refused, encoded

LONG = 256


class Span(NamedTuple):
    """A byte string in a file."""

    offset: int
    length: int  # bytes in the file
    text: bool  # stored as UTF-8 text of which each character is a byte, as Python 3 does for old protocols


class Contents(Sequence):
    """The items of a pickled list of byte strings or byte arrays, each read from the file on access."""

    def __init__(self, path: Path, items: list[Span | bytes]) -> None:
        self._path, self._items = path, items

    def __len__(self) -> int:
        return len(self._items)

    def select(self, places: Iterable[int]) -> Contents:
        """The items at some places."""
        return Contents(self._path, [self._items[place] for place in places])

    def __getitem__(self, place: int) -> bytes:
        item = self._items[place]
        if isinstance(item, bytes):
            return item
        with self._path.open("rb", buffering=0) as file:
            file.seek(item.offset)
            content = file.read(item.length)
        # Damaged text becomes an image that cannot be decoded, and is named as such.
        return content.decode("utf-8", "replace").encode("latin1", "replace") if item.text else content


def index_pickle(path: Path) -> Contents:
    """The items of a pickled list of byte strings or arrays of bytes; the pickle is read by a process of its own.

    Raises:
        UserError: where the file is damaged, asks for anything but data, or holds no such list.
    """
    content = isolated.read("index", path)
    if content is None:
        raise UserError(f"{path} is not a list of images as bytes; get the file from its publisher.")
    return Contents(path, [item if isinstance(item, bytes) else Span(*item) for item in content])


def read_index(file: BinaryIO) -> list[bytes | list] | None:
    """What `index_pickle` asks a process for: each item as bytes, or as the numbers of its span; None for no such list.

    Raises:
        Refused: where the pickle asks for anything but bytes and arrays of them.
    """
    content = _Indexer(file).load()
    items = [_content(item) for item in content] if isinstance(content, list) else [None]
    return None if None in items else [list(item) if isinstance(item, Span) else item for item in items]


class _Bytes:
    """Stands for an array: its raw bytes, once they are set."""

    __slots__ = ("content",)

    def __init__(self, *_: Any) -> None:
        self.content: Any = None

    def __setstate__(self, state: tuple) -> None:
        _, _, dtype, _, content = state
        self.content = _of_bytes(content, dtype)


def _of_bytes(content: Any, dtype: Any, *_: Any) -> Any:
    """The raw bytes of an array, which must be one of bytes; protocol 5 calls this."""
    if not isinstance(dtype, Dtype) or dtype.value != np.uint8:
        raise Refused(f"an array of {dtype.value if isinstance(dtype, Dtype) else 'objects'}")
    return content


def _content(item: Any) -> Span | bytes | None:
    """An item of the list as bytes; None where it is something else."""
    item = item.content if isinstance(item, _Bytes) else item
    if isinstance(item, str):  # a short string of an old protocol
        return item.encode("latin1")
    return bytes(item) if isinstance(item, bytes | bytearray) else item if isinstance(item, Span) else None


def _encode(text: Any, _: Any) -> Any:
    """The function that old protocols call to store bytes as text."""
    return text if isinstance(text, Span) else encoded(text)


KNOWN = {
    "_reconstruct": Known("numpy's _reconstruct", _Bytes),
    "_frombuffer": Known("numpy's _frombuffer", _of_bytes),
    "ndarray": NDARRAY,
    "dtype": Known("numpy.dtype", Dtype),
}
ENCODE = Known("_codecs.encode", _encode)


class _Indexer(pickle._Unpickler):
    """Unpickles as the standard library does, but steps over long byte strings."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")
        self._source = file
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)

    def find_class(self, module: str, name: str) -> Any:
        """The stand-ins for the functions and classes that make an array of bytes."""
        if self._source.tell() == self._size:
            raise EOFError
        if module == "_codecs" and name == "encode":
            return ENCODE
        if module.split(".")[0] == "numpy" and name in KNOWN:
            return KNOWN[name]
        raise Refused(f"{module}.{name}")

    def _string(self, length: int, codec: str = "") -> None:
        if length < 0 or self._source.tell() + length > self._size:
            raise EOFError
        if length < LONG:
            content = self.read(length)
            self.append(content.decode(codec) if codec else content)
            return
        self.append(Span(self._source.tell(), length, codec == "utf-8"))
        self._source.seek(length, io.SEEK_CUR)

    def _step_over_frame(self) -> None:
        self.read(8)  # objects are read from the file itself, so that their place in it is known

    def _binstring(self) -> None:
        self._string(struct.unpack("<i", self.read(4))[0], "latin1")

    def _binbytes(self) -> None:
        self._string(struct.unpack("<I", self.read(4))[0])

    def _binbytes8(self) -> None:
        self._string(struct.unpack("<Q", self.read(8))[0])

    def _binunicode(self) -> None:
        self._string(struct.unpack("<I", self.read(4))[0], "utf-8")

    def _binunicode8(self) -> None:
        self._string(struct.unpack("<Q", self.read(8))[0], "utf-8")

    dispatch |= {
        pickle.FRAME[0]: _step_over_frame,
        pickle.BINSTRING[0]: _binstring,
        pickle.BINBYTES[0]: _binbytes,
        pickle.BINBYTES8[0]: _binbytes8,
        pickle.BYTEARRAY8[0]: _binbytes8,
        pickle.BINUNICODE[0]: _binunicode,
        pickle.BINUNICODE8[0]: _binunicode8,
    }
