"""The benchmarks that consist of image files, except CIFAR: what each one holds, and how its sources are read.

miniImageNet: Vinyals et al. 2016, split of Ravi and Larochelle 2017. tieredImageNet: Ren et al. 2018. CUB: Wah et al.
2011, split of Chen et al. 2019; CUB-FEAT: the split of Ye et al. 2020. Omniglot: Lake et al. 2015, split of Vinyals et
al. 2016, without rotations.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from ..data.class_lists import english_names
from ..data.datasets import DATASETS
from ..errors import UserError
from .collect import (
    Collected,
    Options,
    Published,
    collect_listed,
    compare_with_published,
    file_contents,
    split_of_classes,
)
from .images import Decoding
from .layouts import images_below
from .pickles import collect_mini, collect_omniglot_bits, collect_tiered

MINI = Published(DATASETS["miniImagenet"].classes, per_class=600, words=partial(english_names, "miniimagenet"))
TIERED = Published(
    DATASETS["tieredImagenet"].classes,
    per_split={"train": 448_695, "val": 124_261, "test": 206_209},
    words=partial(english_names, "tieredimagenet"),
)


def bird(name: str) -> str:
    """The name of a bird without its number: 029.American_Crow, American_Crow and american crow are one class."""
    return re.sub(r"^\d+\.", "", name).replace(" ", "_").lower()


CUB = Published(DATASETS["CUB"].classes, per_split={"train": 5_885, "val": 2_950, "test": 2_953}, same_name=bird)
CUB_FEAT = Published(
    DATASETS["CUB-FEAT"].classes, per_split={"train": 5_891, "val": 2_932, "test": 2_965}, same_name=bird
)
OMNIGLOT = Published(DATASETS["Omniglot"].classes, per_class=20)


def mini(options: Options, published: Published = MINI) -> Collected:
    """miniImageNet from the pickles in circulation, class folders, or CSV files with a folder of images."""
    pickled = collect_mini(published, options)
    return pickled or collect_listed(published, f"miniImagenet from {_name(options)}", options)


def tiered(options: Options, published: Published = TIERED) -> Collected:
    """tieredImageNet from Ren's pickles or class folders; ImageNet's own train folder is accepted."""
    pickled = collect_tiered(published, options)
    return pickled or collect_listed(published, f"tieredImagenet from {_name(options)}", options)


def cub(options: Options, published: Published = CUB) -> Collected:
    """CUB-200-2011 from its archive or folder, with the split of CloserLook and NegMargin."""
    return collect_listed(published, f"CUB-200-2011 from {_name(options)}", options)


def cub_feat(options: Options, published: Published = CUB_FEAT) -> Collected:
    """CUB-200-2011 with the split of FEAT and DeepEMD."""
    return cub(options, published)


def omniglot(options: Options, published: Published = OMNIGLOT) -> Collected:
    """Omniglot from images_background and images_evaluation (zip or folder), or packed in an .npz."""
    if options.sources[0].suffix == ".npz":
        return collect_omniglot_bits(published, options.sources[0], options)
    images: dict[str, dict[str, Path]] = {}
    for source in options.sources:
        if not source.is_dir():
            raise UserError(
                f"--from is '{source}', which is no folder, zip or npz; give images_background.zip and its twin."
            )
        for _, path in sorted(images_below(source, 4).items()):
            images.setdefault(f"{path.parent.parent.name}/{path.parent.name}", {})[path.name] = path
    split_of = split_of_classes(published, images)
    if not split_of:
        raise UserError(
            f"--from is '{options.sources[0]}', which holds no folders Alphabet/character; "
            "give images_background and images_evaluation."
        )
    notes = compare_with_published(published, {name: len(images[name]) for name in split_of}, options)
    decoding = Decoding(options.size, as_published=True)
    contents = file_contents(images, split_of, f"Omniglot from {_name(options)}", decoding, options.workers)
    return Collected(contents, {"preparation": decoding.describe(), **notes})


def _name(options: Options) -> str:
    """The names of the sources, for the manifest."""
    return " and ".join(source.name for source in options.sources)
