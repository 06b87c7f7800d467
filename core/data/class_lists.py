"""The published classes of the benchmarks, from data/splits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from .. import paths
from .store import SPLITS

QUERIES = "-queries"  # ends the names of ImageNet low-shot's splits of validation images
STORED = (*SPLITS, *(split + QUERIES for split in SPLITS))  # splits of ImageNet low-shot
GROUPS = ("val", "test")  # of ImageNet low-shot


def split_file(name: str) -> Any:
    """The content of data/splits/<name>.json."""
    return json.loads((paths.SPLITS / f"{name}.json").read_text(encoding="utf-8"))


def class_lists(name: str) -> dict[str, list[str]]:
    """The class names of train, val and test in data/splits/<name>.json."""
    content = split_file(name)
    return {split: content[split]["classes"] if name == "fc100" else content[split] for split in SPLITS}


@cache
def english_names(name: str) -> dict[str, str]:
    """The English words for each WordNet id, from data/splits/<name>.json."""
    return split_file(name)["names"]


@dataclass(frozen=True)
class LowShotClasses:
    """The classes of ImageNet low-shot by WordNet id (wnid), in two groups: "val" for choices, "test" for results."""

    base: dict[str, list[str]]  # base classes of each group
    novel: dict[str, list[str]]  # novel classes of each group
    label_names: list[str]  # wnids in the order of the benchmark's class ids
    words: dict[str, str]  # what each wnid is called in English

    def lists(self) -> dict[str, list[str]]:
        """The classes of every stored split."""
        lists = {"train": sorted(self.base["val"] + self.base["test"]), **self.novel}
        return lists | {split + QUERIES: classes for split, classes in lists.items()}


@cache
def lowshot_classes(by_sorted_wnid: bool = False) -> LowShotClasses:
    """The classes of ImageNet low-shot; `by_sorted_wnid` reads their class ids as places among the sorted wnids.

    The ids of label_idx.json index its label_names, which are not sorted. The code of Gidaris and Komodakis uses the
    same ids for torchvision's labels, and so has other classes: 150 of 389 base classes are the same.
    """
    content = split_file("imagenet_lowshot")
    order = content["label_names"]
    wnid_of = dict(zip(order, sorted(order), strict=True)) if by_sorted_wnid else {name: name for name in order}
    groups = {
        kind: {group: sorted(wnid_of[name] for name in content[f"{kind}_{group}"]) for group in GROUPS}
        for kind in ("base", "novel")
    }
    return LowShotClasses(groups["base"], groups["novel"], order, content["names"])
