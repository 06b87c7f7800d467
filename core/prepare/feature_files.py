"""Read files of computed features: HDF5 files as the code of Gidaris and Komodakis (CVPR 2018) writes them, and .npz.

    all_features | features | vector    [N, D] float16, float32 or float64
    all_labels   | labels   | label     [N] whole numbers, or names of classes
    count                               how many rows are filled, if not all are (optional)
    classes      | class                names of the classes that the labels index (optional)
    splits       | split                train, val or test of each class or of each row (optional)

A file is copied block by block to a raw one on disk, from which any rows are then read: the features are never in
memory together, and compressed files are decompressed once.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..data.writer import BLOCK
from ..errors import UserError
from ..files import DAMAGE, writing

ROWS = 4096  # copied at once
FEATURES, LABELS = ("all_features", "features", "vector"), ("all_labels", "labels", "label")
CLASSES, SPLIT = ("classes", "class"), ("splits", "split")
HDF5 = b"\x89HDF\r\n\x1a\n"
NPZ = b"PK\x03\x04"


@dataclass(frozen=True)
class RowFile:
    """The features (or images) of one file, copied to a raw file on disk, and their labels."""

    path: Path  # the copy: rows one after another
    origin: Path  # the file they come from
    shape: tuple[int, ...]  # of a row
    dtype: np.dtype
    labels: np.ndarray  # [N] int64
    classes: list[str]  # names that the labels index; [] = the file has none
    splits: list[str] = field(default_factory=list)  # of each class or each row, as the file words it; [] = none

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Rows `ids` [n] as [n, ...]; consecutive rows are read at once."""
        rows, size = np.empty((len(ids), *self.shape), self.dtype), math.prod(self.shape) * self.dtype.itemsize
        starts = np.flatnonzero(np.diff(ids, prepend=-2) != 1)
        with self.path.open("rb", buffering=0) as file:
            for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(ids)], strict=True):
                file.seek(int(ids[start]) * size)
                file.readinto(rows[start:stop].data)
        return rows


@dataclass
class FeatureRows:
    """The features (or images) of one split before they are packed."""

    table: RowFile
    rows: np.ndarray  # [M] of the table
    labels: np.ndarray  # [M], index classes
    classes: list[str]
    names: list[str]  # unique within a class
    source: str
    notes: dict[str, Any] = field(default_factory=dict)

    def blocks(self, order: np.ndarray) -> Iterable[np.ndarray]:
        """The features `order` in blocks."""
        return (self.table.rows(self.rows[order[start : start + BLOCK]]) for start in range(0, len(order), BLOCK))


def read_features(file: Path, scratch: Path) -> RowFile:
    """Check the features of an HDF5 or .npz file and copy them to the file `scratch`."""
    try:
        with file.open("rb") as opened:
            magic = opened.read(8)
    except OSError as error:
        raise UserError(f"'{file}' cannot be read ({error.strerror}); check the path.") from error
    if not magic.startswith((HDF5, NPZ)):
        raise UserError(f"'{file}' is neither HDF5 nor .npz; give a file of features.")
    reader = _Hdf5 if magic.startswith(HDF5) else _Npz
    try:
        with reader(file) as source:
            return _copy(source, file, scratch)
    except DAMAGE as error:
        raise UserError(f"{file} cannot be read as features, perhaps cut short ({error}); get it again.") from error


class _Hdf5:
    """Arrays of an HDF5 file."""

    def __init__(self, file: Path) -> None:
        try:
            import h5py
        except ImportError as error:
            raise UserError(f"'{file}' is HDF5, and h5py is not installed: run `pip install h5py`.") from error
        self._file, self._dataset = h5py.File(file, "r"), h5py.Dataset
        self._elsewhere, self._text = (h5py.ExternalLink, h5py.SoftLink), h5py.check_string_dtype

    def _is_text(self, dtype: np.dtype) -> bool:
        """Whether values are text; references to other objects are refused."""
        if dtype.hasobject and self._text(dtype) is None:
            raise ValueError("it holds references")
        return dtype.kind in "OS"

    def __enter__(self) -> _Hdf5:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def names(self) -> list[str]:
        """Names of the arrays."""
        return list(self._file)

    def array(self, name: str) -> np.ndarray:
        """A whole array, for small ones."""
        array = self._array(name)[()]
        if not self._is_text(array.dtype):
            return np.asarray(array)
        return np.array([x.decode() if isinstance(x, bytes) else x for x in array.ravel()], dtype=str)

    def shape(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading it."""
        array = self._array(name)
        return array.shape, np.dtype("S1") if self._is_text(array.dtype) else array.dtype

    def _array(self, name: str) -> Any:
        """An array that lies in the file itself.

        Raises:
            ValueError: where it is a group, a link, or lies in another file.
        """
        if isinstance(self._file.get(name, getlink=True), self._elsewhere):
            raise ValueError(f"{name} is a link")
        array = self._file[name]
        if not isinstance(array, self._dataset) or array.external or array.is_virtual:
            raise ValueError(f"{name} is no array of this file")
        return array

    def blocks(self, name: str, rows: int) -> Iterator[np.ndarray]:
        """The first `rows` rows of an array in blocks."""
        for start in range(0, rows, ROWS):
            yield self._array(name)[start : min(start + ROWS, rows)]


class _Npz:
    """Arrays of an .npz file, compressed or not."""

    def __init__(self, file: Path) -> None:
        self._zip = zipfile.ZipFile(file)

    def __enter__(self) -> _Npz:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    @property
    def names(self) -> list[str]:
        """Names of the arrays."""
        return [name.removesuffix(".npy") for name in self._zip.namelist()]

    def array(self, name: str) -> np.ndarray:
        """A whole array, for small ones."""
        with self._zip.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)

    def shape(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading it."""
        with self._zip.open(f"{name}.npy") as member:
            return _header(member)[:2]

    def blocks(self, name: str, rows: int) -> Iterator[np.ndarray]:
        """The first `rows` rows of an array in blocks."""
        with self._zip.open(f"{name}.npy") as member:
            (_, *rest), dtype, columns_first = _header(member)
            if columns_first:
                raise ValueError(f"{name} is stored column by column")
            size = int(np.prod(rest)) * dtype.itemsize
            for start in range(0, rows, ROWS):
                count = min(ROWS, rows - start)
                yield np.frombuffer(member.read(count * size), dtype).reshape(count, *rest)


def _opened(scratch: Path) -> BinaryIO:
    """A new file in the scratch folder."""
    with writing(scratch.parent):
        return scratch.open("wb", buffering=0)


def _header(member: Any) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, type and order of an open .npy file."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(member)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return shape, dtype, columns_first


def _copy(source: _Hdf5 | _Npz, file: Path, scratch: Path) -> RowFile:
    """Check the features of an open file and copy them."""
    features, labelled, classes, split = (_first(source.names, known) for known in (FEATURES, LABELS, CLASSES, SPLIT))
    if not features or not labelled:
        raise UserError(
            f"{file} holds {', '.join(sorted(source.names)[:8]) or 'nothing'}; "
            f"features are {' or '.join(FEATURES)}, and their labels {' or '.join(LABELS)}."
        )
    (shape, dtype), (length, kind) = source.shape(features), source.shape(labelled)
    if len(shape) != 2 or dtype.kind != "f" or kind.kind not in "iuSU" or length != shape[:1] or not all(shape):
        raise UserError(
            f"{file} holds {features} {list(shape)} of {dtype} and {labelled} {list(length)} of {kind}; "
            "they should be [N, D] of floats and [N] of whole numbers, or of names."
        )
    count = int(source.array("count").ravel()[0]) if "count" in source.names else shape[0]
    if not 0 < count <= shape[0]:
        raise UserError(f"{file} has count {count}, but {shape[0]} rows; get it again.")
    labels, names = _labels(source, file, labelled, classes, count)
    kept = dtype.newbyteorder("=") if dtype.itemsize in (2, 4) else np.dtype(np.float32)
    _write(source.blocks(features, count), scratch, file, kept)
    if os.path.getsize(scratch) != count * shape[1] * kept.itemsize:
        raise UserError(f"{file} is cut short; get it again.")
    splits = _texts(source.array(split)) if split else []
    return RowFile(scratch, file, shape[1:], kept, labels, names, splits)


def _first(names: list[str], known: Iterable[str]) -> str:
    """The first of the known names that is there; "" where none is."""
    return next((name for name in known if name in names), "")


def _labels(source: _Hdf5 | _Npz, file: Path, labelled: str, classes: str, count: int) -> tuple[np.ndarray, list[str]]:
    """Labels [count] int64 and the names that they index; labels that are names index these in sorted order."""
    values = source.array(labelled)[:count]
    if values.dtype.kind in "SU":
        if classes:
            raise UserError(f"{file} holds names in {labelled} and in {classes}; keep one of the two.")
        words, numbers = np.unique(_texts(values), return_inverse=True)
        return numbers.astype(np.int64), words.tolist()
    labels = values.astype(np.int64)
    names = _texts(source.array(classes)) if classes else []
    if labels.min() < 0 or (names and labels.max() >= len(names)):
        raise UserError(f"{file} has labels from {labels.min()} to {labels.max()}, which no class has; get it again.")
    return labels, names


def _texts(values: np.ndarray) -> list[str]:
    """An array of text as strings; bytes are UTF-8."""
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values.ravel().tolist()]


def read_images(file: Path, scratch: Path) -> RowFile:
    """Copy `images` [N, H, W, 3] of an .npz file to `scratch`; labels stay empty."""
    try:
        with _Npz(file) as source:
            shape, dtype = source.shape("images")
            if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
                raise ValueError(f"images are {list(shape)} of {dtype}")
            _write(source.blocks("images", shape[0]), scratch, file, dtype)
    except DAMAGE as error:
        raise UserError(f"{file} holds no images [N, H, W, 3] of uint8 ({error}); get it again.") from error
    return RowFile(scratch, file, shape[1:], dtype, np.zeros(shape[0], np.int64), [])


def _write(blocks: Iterable[np.ndarray], scratch: Path, file: Path, kept: np.dtype) -> None:
    """Write blocks of rows one after another; a row that is not finite is refused."""
    row = 0
    with _opened(scratch) as out:
        for values in blocks:
            with np.errstate(over="ignore"):
                block = np.ascontiguousarray(values, kept)
            if not np.isfinite(block).all():
                bad = row + int(np.flatnonzero(~np.isfinite(block).all(1))[0])
                raise UserError(f"{file} row {bad} is not finite; compute the features again.")
            with writing(scratch.parent):
                left = block.data.cast("B")
                while left:  # unbuffered, so that a full disk is noticed here
                    left = left[out.write(left) :]
            row += len(block)
