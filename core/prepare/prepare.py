"""Put the splits of a data set on disk, and check whether they are still what was written."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from os.path import expanduser  # that of pathlib raises where there is no such user
from pathlib import Path

import numpy as np
import PIL

from ..data.datasets import Dataset, split_folders
from ..data.store import SPLITS, Split, prepared, read_split, verify_split
from ..errors import UserError
from ..files import HiddenFolder, sha256, writing
from .archives import extract, is_archive
from .collect import Collected, Options
from .download import fetch
from .feature_sets import BASE_CLASSES
from .packing import pack
from .sources import Source


def prepare(root: str | Path, source: Source, options: Options) -> list[Split]:
    """Put the missing splits of a data set on disk and open all its splits.

    Raises:
        UserError: where the options do not fit the data set, or its files are missing, damaged or not the published
            ones.
    """
    root, dataset = Path(root), source.dataset
    size = options.size or dataset.native_size
    options = replace(options, sources=tuple(Path(expanduser(path)) for path in options.sources))
    folders = {folder.name: folder for folder in split_folders(root, dataset, size)}
    _refuse_unfit_options(dataset, options)
    if not prepared(folders.values()):
        if source.make is not None:
            source.make(root, size)
        else:
            _pack(root, source, folders, replace(options, size=size))
    splits = [read_split(folder) for folder in folders.values()]
    _refuse_other_seed(splits[0], options)
    _refuse_other_ways(splits[0], options)
    if dataset.path is not None:
        _refuse_other_lists(splits[0], options)
    return splits


def _refuse_unfit_options(dataset: Dataset, options: Options) -> None:
    """Refuse options that mean nothing for a data set."""
    if dataset.features and options.size:
        raise UserError(f"--size is {options.size}, but {dataset.name} holds features; leave it out.")
    if options.class_ids and not dataset.features:
        raise UserError(f"--class-ids is {options.class_ids}, but {dataset.name} holds images; leave it out.")
    if options.class_ids and dataset.path is not None:
        raise UserError(f"--class-ids is {options.class_ids}, which is for ImageNet-LowShot; leave it out.")
    if options.depth and (dataset.path is None or dataset.features):
        raise UserError(
            f"--depth is {options.depth}, which is for folder:PATH, but NAME is {dataset.name}; leave it out."
        )
    if options.learned_from and (dataset.path is None or not dataset.features):
        raise UserError(
            f"--learned-from is {options.learned_from!r}, which is for features:FILE, but NAME is {dataset.name}; "
            "leave it out."
        )
    if dataset.drawn and options.sources:
        raise UserError(
            f"--from is '{options.sources[0]}', but {dataset.name} is rendered from nothing; leave --from out."
        )


def check_prepared(root: Path, dataset: Dataset, size: int = 0) -> list[Split]:
    """Open the splits on disk and compare their pixels, counts, names and classes with what was written.

    Raises:
        UserError: where they are missing or differ.
    """
    folders = split_folders(root, dataset, size)
    if not prepared(folders):
        raise UserError(f"{dataset.name} is not prepared in {folders[0].parent}; prepare it without --check.")
    splits = [read_split(folder) for folder in folders]
    for split, folder in zip(splits, folders, strict=True):
        verify_split(split, folder)
    classes = [name for split in splits if split.name in SPLITS for name in split.classes]
    if len(set(classes)) < len(classes):
        raise UserError(f"{folders[0].parent} has a class in two splits; delete it and prepare it again.")
    lists = {} if dataset.drawn else dataset.classes()  # the letters of Glyphs depend on the installed fonts
    for split in splits:
        published = lists.get(split.name, split.classes)
        if set(published) != set(split.classes) and "deviation" not in split.manifest:
            raise UserError(
                f"{split.name} of {dataset.name} does not hold the classes of its published list; prepare it again."
            )
    return splits


def _pack(root: Path, source: Source, folders: dict[str, Path], options: Options) -> None:
    """Unpack and read the source's files, and write the splits that are missing."""
    options = replace(options, sources=_paths(root, source, options))
    files = (*options.sources, source.dataset.path)
    sums = {path.name: sha256(path) for path in files if path is not None and os.path.isfile(path)}
    with writing(root):
        hidden = HiddenFolder(root / source.dataset.name, "scratch")
    with hidden:
        archives = [path for path in options.sources if is_archive(path)]
        unpacked = {archive: hidden.path / str(n) / archive.name for n, archive in enumerate(archives)}
        assert source.collect is not None, "only a source that is collected needs files"
        try:
            paths = tuple(extract(path, unpacked[path]) if path in unpacked else path for path in options.sources)
            collected = source.collect(replace(options, sources=paths, scratch=hidden.path))
            _write(source, folders, collected, sums, options.allow_deviation)
        except UserError as error:  # it names files of the hidden folder, which the user never sees
            message = str(error)
            for archive, folder in unpacked.items():
                message = message.replace(str(folder), str(archive))
            raise UserError(message) from error


def _paths(root: Path, source: Source, options: Options) -> tuple[Path, ...]:
    """The files and folders to read: the user's, or those that are downloaded."""
    missing = [path for path in options.sources if not os.path.exists(path)]
    if missing:
        raise UserError(f"--from is '{missing[0]}', which does not exist; check the path.")
    if options.sources or source.dataset.path is not None:
        return options.sources
    if not source.remotes:
        raise UserError(f"--from is missing: {source.dataset.name} is made from files of yours; add --from PATH.")
    return tuple(fetch(remote, root / "downloads") for remote in source.remotes)


def _write(
    source: Source, folders: dict[str, Path], collected: Collected, sums: dict[str, str], may_enlarge: bool
) -> None:
    """Write the splits that are missing; `sums` are the hashes of the files they come from."""
    _refuse_mixture(folders, collected)
    contents = {split: collected.contents[split] for split, folder in folders.items() if not prepared([folder])}
    versions = {"python": platform.python_version(), "numpy": np.__version__, "pillow": PIL.__version__}
    notes = {"terms": source.terms, "source_sha256": sums, "versions": versions, **collected.notes}
    pack(folders, source.dataset.name, contents, notes, may_enlarge)


def _refuse_mixture(folders: dict[str, Path], collected: Collected) -> None:
    """Refuse to add splits to others on disk that were prepared in another way."""
    for folder in folders.values():
        manifest = read_split(folder).manifest if prepared([folder]) else {}
        enlarged = "enlarged" in manifest  # what else deviates is not known before the images are read
        for key in ("split_by", "preparation", *(() if enlarged else ("deviation",))):
            if manifest and manifest.get(key) != collected.notes.get(key):
                raise UserError(f"{folder} was prepared in another way ({key} differs); delete {folder.parent} first.")


def _refuse_other_seed(split: Split, options: Options) -> None:
    """Refuse a seed other than that of the class split on disk."""
    how = split.manifest.get("split_by", "")
    if options.seed is not None and f"seed {options.seed}:" not in how:
        raise UserError(
            f"--split-seed is {options.seed}, but the classes of {split.dataset} are prepared by "
            f"{how or 'its published list'}; leave --split-seed out, or delete the prepared folder first."
        )


def _refuse_other_ways(split: Split, options: Options) -> None:
    """Refuse what a user says of the source where the splits on disk were prepared by something else."""
    trained_on = split.manifest.get("external_data", {"data": BASE_CLASSES})["data"]
    depth = split.manifest.get("depth", 1)
    said = (("--depth", options.depth, depth), ("--learned-from", options.learned_from, trained_on))
    for option, given, known in said:
        if given and given != known:
            raise UserError(
                f"{option} is {given}, but {split.dataset} is prepared with {known}; leave {option} out, or delete the "
                "prepared folder first."
            )


def _refuse_other_lists(split: Split, options: Options) -> None:
    """Refuse lists of classes or images other than those that the splits on disk were prepared with."""
    known = split.manifest.get("source_sha256", {})
    for path in options.sources:
        if not os.path.exists(path):
            raise UserError(f"--from is '{path}', which does not exist; check the path.")
        if os.path.isfile(path) and known.get(path.name) != sha256(path):
            raise UserError(
                f"--from is '{path}', but the classes of {split.dataset} are prepared by "
                f"{split.manifest.get('split_by', 'something else')}, and not by this file as it is now; leave --from "
                "out, or delete the prepared folder first."
            )
