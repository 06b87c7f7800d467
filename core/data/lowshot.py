"""ImageNet low-shot (Hariharan and Girshick, ICCV 2017) on features: 389 base and 611 novel classes, in two groups.

Stored splits, each of features:

    train  val  test                             images of ImageNet's training set: base, novel 1, novel 2
    train-queries  val-queries  test-queries     images of its validation set, of the same classes

Group "val" (193 base, 300 novel classes) is for choices, group "test" (196 base, 311 novel) for results. Shots of a
novel class are drawn from `val` or `test`; queries are all the images of `*-queries` of the group's classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .class_lists import GROUPS as GROUPS
from .class_lists import QUERIES, lowshot_classes
from .episodes import Episodes, EpisodeSampler, Shape
from .store import Split, read_split, split_dir


@dataclass(frozen=True)
class LowShotGroup:
    """What an evaluation of one group over base and novel classes reads; its label space is base, then novel."""

    shots: Split  # novel classes, training images: supports are drawn here
    novel: Split  # the same classes, validation images: every one is a query
    base: Split  # the group's base classes, validation images: every one is a query
    base_ids: np.ndarray  # [base classes of the group] their labels in the split `train`


def open_group(root: str | Path, name: str, group: str, size: int = 0) -> LowShotGroup:
    """The splits of group "val" or "test" of a prepared ImageNet-LowShot, or of ImageNet's images at a size."""
    names = (group, group + QUERIES, "train" + QUERIES)
    shots, novel, base_queries = (read_split(split_dir(root, name, size, split)) for split in names)
    wnids = base_queries.manifest["groups"][group]
    base = base_queries.subset(classes=sorted(set(wnids) & set(base_queries.classes)))
    return LowShotGroup(shots, novel, base, np.array([base_queries.classes.index(wnid) for wnid in base.classes]))


@dataclass(frozen=True)
class FixedShots:
    """Trials whose shots are given: the n-shot set of a class is the first n of its images."""

    sampler: EpisodeSampler  # the order of the classes, and the seeds
    images: Tensor  # [trials, classes, most shots] image ids of the split

    @property
    def shape(self) -> Shape:
        """The shape of an episode."""
        return self.sampler.shape

    def draw(self, trials: Tensor) -> Episodes:
        """The episodes of these trials."""
        drawn = self.sampler.draw(trials)
        rows = self.images[trials[:, None], drawn.classes.cpu()]
        return replace(drawn, support=rows[..., : self.shape.shot].flatten(1))


def read_draws(files: Sequence[str | Path], splits: Sequence[Split], group: str) -> Tensor:
    """The shots of each file of Hariharan and Girshick's splitfile_1.json .. 5, [files, classes, 20] image ids.

    A file holds a row for each of the 1,000 classes, in the order of label_idx.json, with places in the list of all
    training images, which is ordered by class likewise. The images of a class are taken in the order of the store: of
    their names, which for torchvision's ImageFolder is that of their list.

    Args:
        files: JSON files.
        splits: train, val and test, which together hold all training images.
        group: val or test.

    Raises:
        UserError: where a file is none of these, or does not fit the number of images of a class.
    """
    counts = {name: count for s in splits for name, count in zip(s.classes, s.counts.tolist(), strict=True)}
    order = lowshot_classes().label_names
    starts = dict(zip(order, np.cumsum([0, *(counts.get(name, 0) for name in order)]).tolist(), strict=False))
    split = next(s for s in splits if s.name == group)
    first = dict(zip(split.classes, np.cumsum([0, *split.counts.tolist()]).tolist(), strict=False))
    tables = []
    for file in files:
        try:
            rows = np.array(json.loads(Path(file).read_text(encoding="utf-8")))
            if rows.ndim != 2 or len(rows) != len(order) or rows.dtype.kind not in "iu":
                raise ValueError(f"it holds {list(rows.shape)}, not [{len(order)}, shots] whole numbers")
        except (OSError, ValueError) as error:
            raise UserError(f"--draws names {file}, which is no file of fixed shots ({error}); give others.") from error
        table = np.stack([rows[order.index(name)] - starts[name] for name in split.classes])
        for name, places in zip(split.classes, table, strict=True):
            if places.min() < 0 or places.max() >= counts[name]:
                raise UserError(
                    f"--draws names {file}, whose images of {name} lie outside its {counts[name]} training images; the "
                    "store must hold all of ImageNet's, in the order of label_idx.json."
                )
        tables.append(table + np.array([first[name] for name in split.classes])[:, None])
    if len({table.shape for table in tables}) > 1:
        raise UserError("--draws names files with different numbers of shots; give files of one kind.")
    return torch.from_numpy(np.stack(tables))
