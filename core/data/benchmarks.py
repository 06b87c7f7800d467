"""The data sets FiveWay knows by name, and how each one comes to be on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.data.glyphs import render_glyphs
from core.data.store import SPLITS, Split, prepared, read_split, split_dir
from core.errors import UserError
from core.registry import nearest


@dataclass(frozen=True)
class Benchmark:
    """A named data set. `make(root, size)` writes its three splits where no source file is needed."""

    name: str
    native_size: int
    make: Callable[[Path, int], None] | None = None


BENCHMARKS = {b.name: b for b in (Benchmark("Glyphs", 32, render_glyphs), Benchmark("CIFAR-FS", 32))}


def benchmark(name: str, key: str = "DATASET.NAME") -> Benchmark:
    """Look a data set up, ignoring case."""
    for known, found in BENCHMARKS.items():
        if known.lower() == name.lower():
            return found
    raise UserError(f"{key} is {name!r}, which is not one of: {', '.join(BENCHMARKS)}{nearest(name, BENCHMARKS)}.")


def open_split(root: str | Path, name: str, split: str, size: int = 0, key: str = "DATASET.NAME") -> Split:
    """Open a split, rendering it first where the data set is embedded. `size` 0 is the native size."""
    found = benchmark(name, key)
    size = size or found.native_size
    folder = split_dir(root, found.name, size, split)
    if not prepared([folder]):
        if found.make is None:
            raise UserError(
                f"{key} is {name!r}, which is not prepared under {root} at {size} px: "
                f"run `python experiments/prepare_data.py {found.name} --from PATH`."
            )
        found.make(Path(root), size)
    return read_split(folder)


def split_folders(root: str | Path, name: str, size: int) -> list[Path]:
    """The three split folders of a data set."""
    return [split_dir(root, name, size, split) for split in SPLITS]
