"""The published benchmarks that are made of image files: what each one holds, and how its sources are read.

miniImageNet: Vinyals et al. 2016, split of Ravi and Larochelle 2017. tieredImageNet: Ren et al. 2018. CUB: Wah et al.
2011, split of Chen et al. 2019; CUB-FEAT: the split of Ye et al. 2020. Omniglot: Lake et al. 2015, split of Vinyals et
al. 2016, without rotations.
"""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path

from ..errors import UserError
from .cifar import SPLIT_FILES, class_lists
from .collect import Collected, Options, Published, check, collect_listed, file_contents
from .images import Recipe
from .layouts import images_below
from .pickles import collect_mini, collect_omniglot_bits, collect_tiered


@cache
def _words(name: str) -> dict[str, str]:
    """What each wnid is called, from data/splits/<name>.json."""
    return json.loads((SPLIT_FILES / f"{name}.json").read_text(encoding="utf-8"))["names"]


MINI = Published(partial(class_lists, "miniimagenet"), per_class=600, words=partial(_words, "miniimagenet"))
TIERED = Published(
    partial(class_lists, "tieredimagenet"),
    per_split={"train": 448_695, "val": 124_261, "test": 206_209},
    words=partial(_words, "tieredimagenet"),
)
CUB = Published(partial(class_lists, "cub_closerlook"), per_split={"train": 5_885, "val": 2_950, "test": 2_953})
CUB_FEAT = Published(partial(class_lists, "cub_feat"), per_split={"train": 5_891, "val": 2_932, "test": 2_965})
OMNIGLOT = Published(partial(class_lists, "omniglot"), per_class=20)


def mini(options: Options, published: Published = MINI) -> Collected:
    """miniImageNet from the pickles in circulation, class folders, or CSV files with a folder of images."""
    found = collect_mini(published, options)
    return found or collect_listed(published, f"miniImagenet from {_name(options)}", options)


def tiered(options: Options, published: Published = TIERED) -> Collected:
    """tieredImageNet from Ren's pickles or class folders; ImageNet's own train folder will do."""
    found = collect_tiered(published, options)
    return found or collect_listed(published, f"tieredImagenet from {_name(options)}", options)


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
        for path in sorted(images_below(source, 4).items()):
            name = path[1].parent
            images.setdefault(f"{name.parent.name}/{name.name}", {})[path[1].name] = path[1]
    lists = published.lists()
    split_of = {name: split for split, names in lists.items() for name in names if name in images}
    if not split_of:
        raise UserError(
            f"--from is '{options.sources[0]}', which holds no folders Alphabet/character; "
            "give images_background and images_evaluation."
        )
    notes = check(published, {name: len(images[name]) for name in split_of}, options)
    recipe = Recipe(options.size, as_published=True)
    contents = file_contents(images, split_of, f"Omniglot from {_name(options)}", recipe, options.workers)
    return Collected(contents, {"preparation": recipe.describe(), **notes})


def _name(options: Options) -> str:
    """What the sources are called."""
    return " and ".join(source.name for source in options.sources)
