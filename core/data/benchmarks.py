"""The data sets FiveWay knows by name, and how each one comes to be on disk."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL

from core.data import catalogue, lowshot, remotes
from core.data.cifar import IMAGES_PER_CLASS, class_lists, read_cifar_fs, read_fc100
from core.data.collect import Collected, Options, collect_folder
from core.data.download import Remote, fetch, sha256
from core.data.extract import extract, is_archive
from core.data.glyph_fonts import alphabets
from core.data.glyphs import IMAGES, render_glyphs
from core.data.packing import Content, Resized, pack
from core.data.store import SPLITS, Split, prepared, read_split, split_dir, verify_split
from core.data.writer import HiddenFolder, explained
from core.errors import UserError
from core.registry import nearest

FOLDER = "folder:"
CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class Benchmark:
    """A named data set, and one of three ways to its splits.

    `make` renders and writes them, `read` gives the images of a source in memory, `collect` finds image files.
    """

    name: str
    native_size: int  # side of its images in pixels; 0 = it holds features
    per_class: int  # images of a class; 0 = they differ
    classes: Callable[[], dict[str, list[str]]]  # class names of each split
    make: Callable[[Path, int], None] | None = None  # (root, size)
    read: Callable[[Path], dict[str, Content]] | None = None  # source -> images of each split, all checked
    collect: Callable[[Options], Collected] | None = None
    images: int = 0  # in all, where per_class is 0
    where: str = ""  # where its files are to be had
    terms: str = ""  # what its publisher says about use
    remotes: tuple[Remote, ...] = ()  # its files on the web, all needed
    asked: str = ""  # what prepare_data.py calls it; "" = its name
    splits: tuple[str, ...] = SPLITS  # that are stored

    @property
    def features(self) -> bool:
        """Whether it holds features instead of images."""
        return not self.native_size

    @property
    def total(self) -> int:
        """Images of all splits."""
        return self.images or self.per_class * sum(map(len, self.classes().values()))


CIFAR_TERMS = "no licence stated; cite Krizhevsky 2009"
IMAGENET_TERMS = "ImageNet's terms: non-commercial research"
CUB_PAGE = "https://data.caltech.edu/records/20098"
CUB_TERMS = "non-commercial research and education; cite Wah et al. 2011"
BENCHMARKS = {
    b.name: b
    for b in (
        Benchmark("Glyphs", 32, IMAGES, alphabets, make=render_glyphs, where="drawn on the spot"),
        Benchmark(
            "CIFAR-FS",
            32,
            IMAGES_PER_CLASS,
            partial(class_lists, "cifar_fs"),
            read=read_cifar_fs,
            remotes=remotes.CIFAR,
            where=CIFAR_PAGE,
            terms=CIFAR_TERMS,
        ),
        Benchmark(
            "FC100",
            32,
            IMAGES_PER_CLASS,
            partial(class_lists, "fc100"),
            read=read_fc100,
            remotes=remotes.CIFAR,
            where=CIFAR_PAGE,
            terms=CIFAR_TERMS,
        ),
        Benchmark(
            "miniImagenet",
            84,
            600,
            catalogue.MINI.lists,
            collect=catalogue.mini,
            remotes=remotes.MINI,
            where="https://zenodo.org/record/7978538 (pickles)",
            terms=IMAGENET_TERMS,
        ),
        Benchmark(
            "tieredImagenet",
            84,
            0,
            catalogue.TIERED.lists,
            collect=catalogue.tiered,
            remotes=remotes.TIERED,
            images=779_165,
            where="https://zenodo.org/record/7978538 (pickles), or ImageNet's train folder",
            terms=IMAGENET_TERMS,
        ),
        Benchmark(
            "CUB",
            84,
            0,
            catalogue.CUB.lists,
            collect=catalogue.cub,
            remotes=remotes.CUB,
            images=11_788,
            where=CUB_PAGE,
            terms=CUB_TERMS,
        ),
        Benchmark(
            "CUB-FEAT",
            84,
            0,
            catalogue.CUB_FEAT.lists,
            collect=catalogue.cub_feat,
            remotes=remotes.CUB,
            images=11_788,
            where=CUB_PAGE,
            terms=CUB_TERMS,
        ),
        Benchmark(
            "Omniglot",
            28,
            20,
            catalogue.OMNIGLOT.lists,
            collect=catalogue.omniglot,
            remotes=remotes.OMNIGLOT,
            where="https://github.com/brendenlake/omniglot (two zips)",
            terms="MIT",
        ),
        *(
            Benchmark(
                name,
                0,
                0,
                lambda by_sorted_wnid=by_sorted_wnid: lowshot.published(by_sorted_wnid).lists(),
                collect=partial(lowshot.collect_lowshot, by_sorted_wnid=by_sorted_wnid),
                images=lowshot.TRAINING_IMAGES + 1000 * lowshot.PER_CLASS,
                where="features of all of ImageNet, computed by your network (docs/data.md)",
                terms=IMAGENET_TERMS,
                splits=lowshot.STORED,
            )
            for name, by_sorted_wnid in (("ImageNet-LowShot", False), ("ImageNet-LowShot-Sorted", True))
        ),
    )
}


def benchmark(name: str, key: str = "DATASET.NAME") -> Benchmark:
    """Look a data set up, ignoring case; `folder:PATH` is a folder of one's own."""
    if name.lower().startswith(FOLDER):
        return own_folder(name[len(FOLDER) :], key)
    for known, found in BENCHMARKS.items():
        if known.lower() == name.lower():
            return found
    raise UserError(f"{key} is {name!r}, which is not one of: {', '.join(BENCHMARKS)}{nearest(name, BENCHMARKS)}.")


def own_folder(text: str, key: str) -> Benchmark:
    """The data set of a folder of class folders, stored under the folder's name and a hash of its path."""
    if not text:
        raise UserError(f"{key} is '{FOLDER}' without a path; write {FOLDER}PATH.")
    path = Path(text).expanduser().resolve()
    stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in path.name) or "root"
    name = f"folder-{stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    return Benchmark(name, 84, 0, dict, collect=partial(collect_folder, path), asked=FOLDER + text)


def open_split(root: str | Path, name: str, split: str, size: int = 0, key: str = "DATASET.NAME") -> Split:
    """Open a split, rendering it first where the data set is embedded. `size` 0 is the native size."""
    found = benchmark(name, key)
    native, size = not size or size == found.native_size, size or found.native_size
    if found.features and size:
        raise UserError(f"DATASET.SIZE is {size}, but {key} {name} holds features; leave it 0.")
    folder = split_dir(root, found.name, size, split)
    if not prepared([folder]):
        if found.make is None:
            command = f"{found.asked or f'{found.name} --from PATH'}{'' if native else f' --size {size}'}"
            raise UserError(
                f"{key} is {name!r}, which is not prepared under {root}{f' at {size} px' if size else ''}: "
                f"run `python experiments/prepare_data.py {command}`."
            )
        found.make(Path(root), size)
    return read_split(folder)


def split_folders(root: str | Path, found: Benchmark, size: int = 0) -> list[Path]:
    """The split folders of a data set, at the native size or another."""
    return [split_dir(root, found.name, size or found.native_size, split) for split in found.splits]


def is_prepared(root: str | Path, found: Benchmark, size: int = 0) -> bool:
    """Whether all splits are on disk, at the native size or another."""
    return prepared(split_folders(root, found, size))


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
