"""Where the files of each data set come from, and how they become splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..data.datasets import DATASETS, Dataset, dataset
from ..errors import UserError
from ..paths import command
from . import catalogue, cifar, imagenet, lowshot, remotes
from .collect import Collected, Options, Published, collect_folder
from .download import Remote
from .feature_sets import collect_feature_file
from .glyphs import IMAGES, class_names, render_glyphs

CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
CIFAR_TERMS = "no licence stated; cite Krizhevsky 2009"
IMAGENET_TERMS = "ImageNet's terms: non-commercial research"
IMAGENET_PAGE = "https://image-net.org (ILSVRC 2012, an account is needed): train and val as class folders"
IMAGENET_PICKLES = "https://zenodo.org/record/7978538 (pickles)"
IMAGENET_FEATURES = "features of all of ImageNet, computed by your network (docs/data.md)"
CUB_PAGE = "https://data.caltech.edu/records/20098"
CUB_TERMS = "non-commercial research and education; cite Wah et al. 2011"
OMNIGLOT_PAGE = "https://github.com/brendenlake/omniglot (two zips)"


@dataclass(frozen=True)
class Source:
    """A data set and how its splits are made: `collect` reads them from files, or `make` draws them."""

    dataset: Dataset
    collect: Callable[[Options], Collected] | None = None
    make: Callable[[Path, int], None] | None = None  # called with the data folder and the size in pixels
    images: Callable[[], int] = int  # published number of images of all splits; 0 = unknown
    where: str = ""  # where to get its files
    terms: str = ""  # what its publisher says about use
    remotes: tuple[Remote, ...] = ()  # files to download, all required


def _glyphs() -> Source:
    """Glyphs, whose classes are the letters that matplotlib's fonts hold."""
    return Source(
        replace(DATASETS["Glyphs"], classes=class_names),
        make=render_glyphs,
        images=lambda: IMAGES * sum(map(len, class_names().values())),
        where="drawn on the spot",
    )


def _benchmark(
    name: str,
    collect: Callable[[Options], Collected],
    published: Published,
    where: str,
    terms: str,
    remotes: tuple[Remote, ...],
) -> Source:
    """A benchmark of images whose classes and counts are published."""
    return Source(DATASETS[name], collect, images=published.total, where=where, terms=terms, remotes=remotes)


def _lowshot(name: str, by_sorted_wnid: bool) -> Source:
    """ImageNet low-shot under one of the two readings of its class ids."""
    collect = partial(lowshot.collect_lowshot, by_sorted_wnid=by_sorted_wnid)
    return Source(DATASETS[name], collect, images=lowshot.total, where=IMAGENET_FEATURES, terms=IMAGENET_TERMS)


SOURCES = {
    source.dataset.name: source
    for source in (
        _glyphs(),
        _benchmark("CIFAR-FS", cifar.cifar_fs, cifar.CIFAR_FS, CIFAR_PAGE, CIFAR_TERMS, remotes.CIFAR),
        _benchmark("FC100", cifar.fc100, cifar.FC100, CIFAR_PAGE, CIFAR_TERMS, remotes.CIFAR),
        _benchmark("miniImagenet", catalogue.mini, catalogue.MINI, IMAGENET_PICKLES, IMAGENET_TERMS, remotes.MINI),
        _benchmark(
            "tieredImagenet",
            catalogue.tiered,
            catalogue.TIERED,
            f"{IMAGENET_PICKLES}, or ImageNet's train folder",
            IMAGENET_TERMS,
            remotes.TIERED,
        ),
        _benchmark("CUB", catalogue.cub, catalogue.CUB, CUB_PAGE, CUB_TERMS, remotes.CUB),
        _benchmark("CUB-FEAT", catalogue.cub_feat, catalogue.CUB_FEAT, CUB_PAGE, CUB_TERMS, remotes.CUB),
        _benchmark("Omniglot", catalogue.omniglot, catalogue.OMNIGLOT, OMNIGLOT_PAGE, "MIT", remotes.OMNIGLOT),
        Source(
            DATASETS["ImageNet"],
            imagenet.collect_imagenet,
            images=lowshot.total,
            where=IMAGENET_PAGE,
            terms=IMAGENET_TERMS,
        ),
        _lowshot("ImageNet-LowShot", by_sorted_wnid=False),
        _lowshot("ImageNet-LowShot-Sorted", by_sorted_wnid=True),
    )
}


def source(name: str, key: str = "NAME") -> Source:
    """The source of a data set, looked up by its name in any case, or by `folder:PATH` or `features:FILE`."""
    named = dataset(name, key)
    if named.path is not None:
        return Source(named, partial(collect_feature_file if named.features else collect_folder, named.path))
    if named.name not in SOURCES or named.features != SOURCES[named.name].dataset.features:
        raise UserError(
            f"{key} is {name!r}, features that `{command('evaluate')} --save-features` writes; of a file of yours "
            "write features:FILE.npz, or .h5."
        )
    return SOURCES[named.name]
