"""The data sets FiveWay knows by name, where each one comes from, and how its splits are opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import UserError
from ..prepare import catalogue, remotes
from ..prepare.cifar import IMAGES_PER_CLASS, class_lists, read_cifar_fs, read_fc100
from ..prepare.collect import Collected, Options, collect_folder
from ..prepare.download import Remote
from ..prepare.glyph_fonts import alphabets
from ..prepare.glyphs import IMAGES, render_glyphs
from ..prepare.packing import Content
from ..registry import nearest
from . import lowshot
from .store import SPLITS, prepared, split_dir

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


def split_folders(root: str | Path, found: Benchmark, size: int = 0) -> list[Path]:
    """The split folders of a data set, at the native size or another."""
    return [split_dir(root, found.name, size or found.native_size, split) for split in found.splits]


def is_prepared(root: str | Path, found: Benchmark, size: int = 0) -> bool:
    """Whether all splits are on disk, at the native size or another."""
    return prepared(split_folders(root, found, size))
