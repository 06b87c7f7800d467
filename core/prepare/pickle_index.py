"""Find where the long byte strings of a pickle lie in its file, so that a list of images is never in memory.

The pickle is executed as in `unpickle`, but by the standard library's unpickler written in Python, but a byte
string of `LONG` bytes or more is stepped over, and a `Span` of the file takes its place. An array of bytes is
represented by its content; nothing else may be called.
"""

from __future__ import annotations

import io
import pickle
import struct
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import UserError
from .unpickle import DAMAGE, Refused

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
    """The items of a pickled list of byte strings or arrays of bytes.

    Raises:
        UserError: where the file is damaged, asks for anything but data, or holds no such list.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = _Indexer(file).load()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check --from.") from error
    except Refused as error:
        raise UserError(
            f"{path} is refused: it asks for {error}, and only arrays, strings, numbers, lists and dicts are read; "
            "get the file from its publisher."
        ) from error
    except (*DAMAGE, struct.error, AssertionError) as error:
        raise UserError(f"{path} is not a readable pickle, perhaps cut short; get the file again.") from error
    items = [_content(item) for item in content] if isinstance(content, list) else [None]
    if any(item is None for item in items):
        raise UserError(f"{path} is not a list of images as bytes; get the file from its publisher.")
    return Contents(path, items)


class _Bytes:
    """Stands for an array: its raw bytes, once they are set."""

    __slots__ = ("content",)

    def __init__(self, *_: Any) -> None:
        self.content: Any = None

    def __setstate__(self, state: tuple) -> None:
        _, _, dtype, _, content = state
        if dtype != np.uint8:
            raise Refused(f"an array of {dtype}")
        self.content = content


def _content(item: Any) -> Span | bytes | None:
    """An item of the list as bytes; None where it is something else."""
    item = item.content if isinstance(item, _Bytes) else item
    if isinstance(item, str):  # a short string of an old protocol
        return item.encode("latin1")
    return bytes(item) if isinstance(item, bytes | bytearray) else item if isinstance(item, Span) else None


def _encode(text: Any, _: Any) -> Any:
    """The function that old protocols call to store bytes as text."""
    return text if isinstance(text, Span) else text.encode("latin1")


def _frombuffer(content: Any, dtype: np.dtype, *_: Any) -> Any:
    """The function that protocol 5 calls to make an array."""
    if dtype != np.uint8:
        raise Refused(f"an array of {dtype}")
    return content


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
        known = {"_reconstruct": _Bytes, "_frombuffer": _frombuffer, "ndarray": None, "dtype": np.dtype}
        if self._source.tell() == self._size:
            raise EOFError
        if module == "_codecs" and name == "encode":
            return _encode
        if module.split(".")[0] == "numpy" and name in known:
            return known[name]
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
