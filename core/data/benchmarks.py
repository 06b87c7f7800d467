"""The data sets FiveWay knows by name, and how each one comes to be on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.data.cifar import IMAGES_PER_CLASS, class_lists, read_cifar_fs, read_fc100
from core.data.glyph_fonts import alphabets
from core.data.glyphs import IMAGES, render_glyphs
from core.data.store import SPLITS, Pictures, Split, prepared, read_split, split_dir, write_split
from core.errors import UserError
from core.registry import nearest


@dataclass(frozen=True)
class Benchmark:
    """A named data set, and one of two ways to its splits: `make` renders and writes them, `read` takes a source."""

    name: str
    native_size: int
    per_class: int  # images of a class
    classes: Callable[[], dict[str, list[str]]]  # class names of each split
    make: Callable[[Path, int], None] | None = None  # (root, size)
    read: Callable[[Path], dict[str, Pictures]] | None = None  # source -> pictures of each split, all checked


BENCHMARKS = {
    b.name: b
    for b in (
        Benchmark("Glyphs", 32, IMAGES, alphabets, make=render_glyphs),
        Benchmark("CIFAR-FS", 32, IMAGES_PER_CLASS, partial(class_lists, "cifar_fs"), read=read_cifar_fs),
        Benchmark("FC100", 32, IMAGES_PER_CLASS, partial(class_lists, "fc100"), read=read_fc100),
    )
}


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


def is_prepared(root: str | Path, found: Benchmark) -> bool:
    """Whether all three splits are on disk at the native size."""
    return prepared(split_folders(root, found.name, found.native_size))


def prepare(root: str | Path, found: Benchmark, source: Path | None = None) -> Iterator[Split]:
    """Put the missing splits of a data set on disk at its native size, yielding each of the three as it is there."""
    folders = split_folders(root, found.name, found.native_size)
    pictures: dict[str, Pictures] = {}
    if found.read is None and source is not None:
        raise UserError(f"--from is '{source}', but {found.name} is rendered from nothing; leave --from out.")
    if not prepared(folders):
        if found.make is not None:
            found.make(Path(root), found.native_size)
        elif source is None:
            raise UserError(f"--from is missing: {found.name} is made from files of yours; add --from PATH.")
        else:
            pictures = found.read(source.expanduser())
    for folder in folders:
        if not prepared([folder]):
            write_split(folder, found.name, *pictures[folder.name])
        yield read_split(folder)
