"""From a data set's sources to its splits on disk, and whether they are still what was written."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL

from ..data.datasets import Benchmark, split_folders
from ..data.store import SPLITS, Split, prepared, read_split, verify_split
from ..data.writer import HiddenFolder, explained
from ..errors import UserError
from .archives import extract, is_archive
from .collect import Collected, Options
from .download import fetch, sha256
from .packing import Resized, pack


def prepare(root: str | Path, found: Benchmark, options: Options) -> list[Split]:
    """Put the missing splits of a data set on disk and open them all."""
    root, size = Path(root), options.size or found.native_size
    options = replace(options, sources=tuple(source.expanduser() for source in options.sources))
    folders = {folder.name: folder for folder in split_folders(root, found, size)}
    if found.features and options.size:
        raise UserError(f"--size is {options.size}, but {found.name} holds features; leave it out.")
    if options.class_ids and not found.features:
        raise UserError(f"--class-ids is {options.class_ids}, but {found.name} holds images; leave it out.")
    if found.make is not None and options.sources:
        raise UserError(
            f"--from is '{options.sources[0]}', but {found.name} is rendered from nothing; leave --from out."
        )
    if not prepared(folders.values()):
        if found.make is not None:
            found.make(root, size)
        else:
            _pack(root, found, folders, replace(options, size=size))
    splits = [read_split(folder) for folder in folders.values()]
    _refuse_other_seed(splits[0], options)
    return splits


def check_prepared(root: Path, found: Benchmark, size: int = 0) -> list[Split]:
    """Open what is prepared and compare pixels, counts, names and the split lists with what was written."""
    folders = split_folders(root, found, size)
    if not prepared(folders):
        raise UserError(f"{found.name} is not prepared in {folders[0].parent}; prepare it without --check.")
    splits = [read_split(folder) for folder in folders]
    for split, folder in zip(splits, folders, strict=True):
        verify_split(split, folder)
    classes = [name for split in splits if split.name in SPLITS for name in split.classes]
    if len(set(classes)) < len(classes):
        raise UserError(f"{folders[0].parent} has a class in two splits; delete it and prepare it again.")
    for split in splits:
        listed = split.classes if found.make else found.classes().get(split.name, split.classes)
        if set(listed) != set(split.classes) and "deviation" not in split.manifest:
            raise UserError(
                f"{split.name} of {found.name} does not hold the classes of its published list; prepare it again."
            )
    return splits


def _pack(root: Path, found: Benchmark, folders: dict[str, Path], options: Options) -> None:
    """Read the sources and write the splits that are missing."""
    if not options.sources and not found.asked:
        if not found.remotes:
            raise UserError(f"--from is missing: {found.name} is made from files of yours; add --from PATH.")
        options = replace(options, sources=tuple(fetch(remote, root / "downloads") for remote in found.remotes))
    sums = {source.name: sha256(source) for source in options.sources if os.path.isfile(source)}
    if found.read:
        return _pack_collected(found, folders, _read(found, options), sums)
    with explained(root):
        hidden = HiddenFolder(root / found.name, "scratch")
    with hidden as scratch:
        archives = [source for source in options.sources if is_archive(source)]
        unpacked = {archive: scratch / str(n) / archive.name for n, archive in enumerate(archives)}
        try:
            sources = tuple(extract(s, unpacked[s]) if s in unpacked else s for s in options.sources)
            collected = found.collect(replace(options, sources=sources, scratch=scratch))
            _pack_collected(found, folders, collected, sums)
        except UserError as error:  # it names files of the hidden folder, which the user never sees
            message = str(error)
            for archive, folder in unpacked.items():
                message = message.replace(str(folder), str(archive))
            raise UserError(message) from error


def _pack_collected(found: Benchmark, folders: dict[str, Path], collected: Collected, sums: dict[str, str]) -> None:
    """Write the splits that are missing; `sums` are the hashes of the files they come from."""
    _refuse_mixture(folders, collected)
    contents = {split: collected.contents[split] for split, folder in folders.items() if not prepared([folder])}
    versions = {"python": platform.python_version(), "numpy": np.__version__, "pillow": PIL.__version__}
    notes = {"terms": found.terms, "source_sha256": sums, "versions": versions, **collected.notes}
    pack(folders, found.name, contents, notes)


def _read(found: Benchmark, options: Options) -> Collected:
    """A data set whose images fit the memory."""
    if len(options.sources) > 1:
        raise UserError(f"--from has {len(options.sources)} paths, but {found.name} is made from one; give that one.")
    contents = found.read(options.sources[0])
    if options.size == found.native_size:
        return Collected(contents)
    how = {"size": options.size, "filter": f"bicubic, antialiased (Pillow {PIL.__version__})"}
    return Collected({split: Resized(c, options.size) for split, c in contents.items()}, {"preparation": how})


def _refuse_mixture(folders: dict[str, Path], collected: Collected) -> None:
    """Splits already on disk must have been made in the same way as those to come."""
    for folder in folders.values():
        manifest = read_split(folder).manifest if prepared([folder]) else {}
        for key in ("split_by", "preparation", "deviation"):
            if manifest and manifest.get(key) != collected.notes.get(key):
                raise UserError(f"{folder} was prepared in another way ({key} differs); delete {folder.parent} first.")


def _refuse_other_seed(split: Split, options: Options) -> None:
    """A prepared folder keeps its class split."""
    how = split.manifest.get("split_by", "")
    if options.seed is not None and f"seed {options.seed}:" not in how:
        raise UserError(
            f"--split-seed is {options.seed}, but the classes of {split.dataset} are prepared by "
            f"{how or 'its published list'}; leave --split-seed out, or delete the prepared folder first."
        )
