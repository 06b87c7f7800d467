"""Read files of computed features: HDF5 files as the code of Gidaris and Komodakis (CVPR 2018) writes them, and .npz.

    all_features | features | vector    [N, D] float16, float32 or float64
    all_labels   | labels   | label     [N] whole numbers
    count                               how many rows are filled, if not all are (optional)
    classes      | class                names of the classes that the labels index (optional)

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
CLASSES = ("classes", "class")
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
        raise UserError(f"--from is '{file}', which cannot be read ({error.strerror}); check the path.") from error
    if not magic.startswith((HDF5, NPZ)):
        raise UserError(f"--from is '{file}', which is neither HDF5 nor .npz; give a file of features.")
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
            raise UserError(
                f"--from is '{file}', which is HDF5, and h5py is not installed: run `pip install h5py`."
            ) from error
        self._file, self._dataset = h5py.File(file, "r"), h5py.Dataset
        self._elsewhere = (h5py.ExternalLink, h5py.SoftLink)

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
        return np.array([x.decode() for x in array.ravel()]) if array.dtype.kind in "OS" else np.asarray(array)

    def shape(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading it."""
        array = self._array(name)
        return array.shape, array.dtype

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
    names = [next((name for name in known if name in source.names), "") for known in (FEATURES, LABELS, CLASSES)]
    if not names[0] or not names[1]:
        raise UserError(
            f"{file} holds {', '.join(sorted(source.names)[:8]) or 'nothing'}; "
            f"features are {' or '.join(FEATURES)}, and their labels {' or '.join(LABELS)}."
        )
    (shape, dtype), (labelled, kind) = source.shape(names[0]), source.shape(names[1])
    if len(shape) != 2 or dtype.kind != "f" or kind.kind not in "iu" or labelled != shape[:1] or not all(shape):
        raise UserError(
            f"{file} holds {names[0]} {list(shape)} of {dtype} and {names[1]} {list(labelled)} of {kind}; "
            "they should be [N, D] of floats and [N] of whole numbers."
        )
    count = int(source.array("count").ravel()[0]) if "count" in source.names else shape[0]
    if not 0 < count <= shape[0]:
        raise UserError(f"{file} has count {count}, but {shape[0]} rows; get it again.")
    labels = source.array(names[1])[:count].astype(np.int64)
    classes = source.array(names[2]).astype(str).tolist() if names[2] else []
    if labels.min() < 0 or (classes and labels.max() >= len(classes)):
        raise UserError(f"{file} has labels from {labels.min()} to {labels.max()}, which no class has; get it again.")
    kept = dtype.newbyteorder("=") if dtype.itemsize in (2, 4) else np.dtype(np.float32)
    _write(source.blocks(names[0], count), scratch, file, kept)
    if os.path.getsize(scratch) != count * shape[1] * kept.itemsize:
        raise UserError(f"{file} is cut short; get it again.")
    return RowFile(scratch, file, shape[1:], kept, labels, classes)


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
