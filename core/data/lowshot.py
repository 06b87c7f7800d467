"""ImageNet low-shot (Hariharan and Girshick, ICCV 2017) on features: 389 base and 611 novel classes, in two groups.

Stored splits, each of features:

    train  val  test                             images of ImageNet's training set: base, novel 1, novel 2
    train-queries  val-queries  test-queries     images of its validation set, of the same classes

Group "val" (193 base, 300 novel classes) is for choices, group "test" (196 base, 311 novel) for results. Shots of a
novel class are drawn from `val` or `test`; queries are all the images of `*-queries` of the group's classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .class_lists import GROUPS as GROUPS
from .class_lists import QUERIES
from .store import SPLITS, Split, read_split, split_dir

STORED = (*SPLITS, *(split + QUERIES for split in SPLITS))


@dataclass(frozen=True)
class LowShotGroup:
    """What an evaluation of one group over base and novel classes reads; its label space is base, then novel."""

    shots: Split  # novel classes, training images: supports are drawn here
    novel: Split  # the same classes, validation images: every one is a query
    base: Split  # the group's base classes, validation images: every one is a query
    base_ids: np.ndarray  # [base classes of the group] their labels in the split `train`


def open_group(root: str | Path, name: str, group: str) -> LowShotGroup:
    """The splits of group "val" or "test" of a prepared ImageNet-LowShot."""
    names = (group, group + QUERIES, "train" + QUERIES)
    shots, novel, base_queries = (read_split(split_dir(root, name, 0, split)) for split in names)
    wnids = base_queries.manifest["groups"][group]
    base = base_queries.subset(classes=sorted(set(wnids) & set(base_queries.classes)))
    return LowShotGroup(shots, novel, base, np.array([base_queries.classes.index(wnid) for wnid in base.classes]))
