"""Splits of the data sets that a configuration names."""

from __future__ import annotations

from pathlib import Path

from ..data.datasets import benchmark
from ..data.store import Split, prepared, read_split, split_dir
from ..errors import UserError
from ..paths import command


def open_split(root: str | Path, name: str, split: str, size: int = 0, key: str = "DATASET.NAME") -> Split:
    """Open a split, rendering it first where the data set is embedded. `size` 0 is the native size."""
    found = benchmark(name, key)
    native, size = not size or size == found.native_size, size or found.native_size
    if found.features and size:
        raise UserError(f"DATASET.SIZE is {size}, but {key} {name} holds features; leave it 0.")
    folder = split_dir(root, found.name, size, split)
    if not prepared([folder]):
        if found.make is None:
            arguments = f"{found.asked or f'{found.name} --from PATH'}{'' if native else f' --size {size}'}"
            raise UserError(
                f"{key} is {name!r}, which is not prepared under {root}{f' at {size} px' if size else ''}: "
                f"run `{command('prepare')} {arguments}`."
            )
        found.make(Path(root), size)
    return read_split(folder)
