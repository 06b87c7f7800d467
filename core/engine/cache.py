"""Features on disk, so that the next evaluation of a checkpoint need not encode its images again.

<folder>/<key>/
    <feature>.npy   [M, ...] float32, memory-mapped, rows filled block by block
    sums.npy        [M] uint64, the check sum of each complete row, 0 where a row is not there

The key is a hash of everything that a feature depends on, so a row never changes once it is there: two processes
may fill the same table, as both write the same bytes. Rows are flushed before they are marked, and checked when the
table is opened: one that the disk has changed counts as absent, and is encoded again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import DAMAGE, HiddenFolder

DIGITS = 32  # of a table's name, hexadecimal
SUMS = "sums"
COMPLETE = 1 << 32  # added to a row's CRC-32, so that no sum is 0

log = logging.getLogger("fiveway")


@dataclass(frozen=True)
class CachedTable:
    """Mapped arrays of one key."""

    arrays: dict[str, np.memmap]  # [M, ...] float32
    sums: np.memmap  # [M] uint64

    @property
    def present(self) -> np.ndarray:
        """Which rows are complete, [M] bool."""
        return self.sums != 0

    def mark(self, ids: np.ndarray) -> None:
        """Note that rows `ids` are complete, after they are on disk."""
        for array in self.arrays.values():
            array.flush()
        self.sums[ids] = self._sums_of(ids)
        self.sums.flush()

    def forget_damaged(self) -> int:
        """Take the rows that are not what was written for absent; returns how many there are."""
        ids = np.flatnonzero(self.sums)
        damaged = ids[self._sums_of(ids) != self.sums[ids]]
        self.sums[damaged] = 0
        return len(damaged)

    def _sums_of(self, ids: np.ndarray) -> np.ndarray:
        """Check sums of rows `ids`, [n] uint64."""
        sums = [0] * len(ids)
        for _, array in sorted(self.arrays.items()):
            sums = [zlib.crc32(array[row].tobytes(), crc) for row, crc in zip(ids.tolist(), sums, strict=True)]
        return np.array(sums, np.uint64) + np.uint64(COMPLETE)


class FeatureCache:
    """One table in a folder of tables that together stay under `limit_mb`; the least recently used go first."""

    def __init__(self, folder: Path, key: dict[str, Any], limit_mb: int) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:DIGITS]
        self._folder, self.path, self._limit = folder, folder / digest, limit_mb * 2**20

    def open(self, rows: int) -> CachedTable | None:
        """The table, if it is there; a damaged one is removed."""
        if not self.path.is_dir():
            return None
        try:
            arrays = {file.stem: _map(file) for file in self.path.glob("*.npy")}
            sums = arrays.pop(SUMS)
            sound = arrays and all(a.dtype == np.float32 and len(a) == rows for a in arrays.values())
            if not sound or sums.dtype != np.uint64 or sums.shape != (rows,):
                raise ValueError("not the arrays that were written")
            table = CachedTable(arrays, sums)
            damaged = table.forget_damaged()
            if damaged:
                log.warning("%s: %d rows are not what was written, and are encoded again", self.path, damaged)
            os.utime(self.path)
            return table
        except DAMAGE:
            shutil.rmtree(self.path, ignore_errors=True)
            return None

    def create(self, rows: int, shapes: dict[str, tuple[int, ...]]) -> CachedTable | None:
        """A table without rows, or the one that another process has just made; None where there is no room for it."""
        size = sum(4 * rows * int(np.prod(shape)) for shape in shapes.values())
        if size > self._limit:
            return None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            self._write(rows, shapes)
        except OSError:  # a full or read-only disk costs the cache, not the evaluation
            return None
        return self.open(rows)

    def _write(self, rows: int, shapes: dict[str, tuple[int, ...]]) -> None:
        """Write the table beside its place and rename it; whoever comes second leaves the first one's."""
        with HiddenFolder(self._folder, "building") as hidden:
            for name, shape in shapes.items():
                _allocate(hidden.path / f"{name}.npy", (rows, *shape), np.float32)
            _allocate(hidden.path / f"{SUMS}.npy", (rows,), np.uint64)
            hidden.rename(self.path)

    def _make_room(self, size: int) -> None:
        """Remove the tables that were not used for longest until `size` bytes more stay under the limit."""
        folders = [path for path in self._folder.iterdir() if _is_table(path)]  # nothing else goes
        tables = [(path.stat().st_mtime, _size(path), path) for path in folders]
        total = sum(table_size for _, table_size, _ in tables) + size
        for _, table_size, path in sorted(tables):
            if total <= self._limit:
                return
            shutil.rmtree(path, ignore_errors=True)
            total -= table_size


def _map(file: Path) -> np.ndarray:
    """Map an array for writing; "r+" alone would fill up a file that was cut off."""
    np.load(file, mmap_mode="r", allow_pickle=False)
    return np.load(file, mmap_mode="r+", allow_pickle=False)


def _is_table(folder: Path) -> bool:
    """Whether a folder has the name of a table, and so was made by a cache."""
    return re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", folder.name) is not None and folder.is_dir()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.npy"))


def _allocate(file: Path, shape: tuple[int, ...], dtype: type) -> None:
    """A file of zeros whose blocks are reserved: writing to a mapped hole of a full disk would kill the process."""
    array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    array.flush()
    del array
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
