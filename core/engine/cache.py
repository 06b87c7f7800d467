"""Features on disk, so that the next evaluation of a checkpoint need not encode its images again.

<folder>/<key>/
    <feature>.npy   [M, ...] float32, memory-mapped, rows filled block by block
    present.npy     [M] uint8, 1 where a row is complete

The key is a hash of everything that a feature depends on, so a row never changes once it is there: two processes
may fill the same table, as both write the same bytes. Rows are flushed before they are marked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import HiddenFolder

PRESENT = "present"


@dataclass(frozen=True)
class CachedTable:
    """Mapped arrays of one key."""

    arrays: dict[str, np.memmap]  # [M, ...] float32
    present: np.memmap  # [M] uint8

    def mark(self, ids: np.ndarray) -> None:
        """Note that rows `ids` are complete, after they are on disk."""
        for array in self.arrays.values():
            array.flush()
        self.present[ids] = 1
        self.present.flush()


class FeatureCache:
    """One table in a folder of tables that together stay under `limit_mb`; the least recently used go first."""

    def __init__(self, folder: Path, key: dict[str, Any], limit_mb: int) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        self._folder, self.path, self._limit = folder, folder / digest, limit_mb * 2**20

    def open(self, rows: int) -> CachedTable | None:
        """The table, if it is there; a damaged one is removed."""
        if not self.path.is_dir():
            return None
        try:
            arrays = {file.stem: _map(file) for file in self.path.glob("*.npy")}
            present = arrays.pop(PRESENT)
            sound = arrays and all(a.dtype == np.float32 and len(a) == rows for a in arrays.values())
            if not sound or present.dtype != np.uint8 or present.shape != (rows,):
                raise ValueError("not the arrays that were written")
            os.utime(self.path)
            return CachedTable(arrays, present)
        except (OSError, ValueError, KeyError, EOFError):
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
            _allocate(hidden.path / f"{PRESENT}.npy", (rows,), np.uint8)
            hidden.rename(self.path)

    def _make_room(self, size: int) -> None:
        """Remove the tables that were not used for longest until `size` bytes more stay under the limit."""
        tables = [(path.stat().st_mtime, _size(path), path) for path in self._folder.iterdir() if path.is_dir()]
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


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.npy"))


def _allocate(file: Path, shape: tuple[int, ...], dtype: type) -> None:
    """A file of zeros whose blocks are reserved: writing to a mapped hole of a full disk would kill the process."""
    array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    array.flush()
    del array
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
