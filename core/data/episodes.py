"""Episodes: a pure function of (split, way, shot, query, seed, index).

Neither the method, the image size, the machine, the number of processes nor anything drawn before enters, so every
method is trained and tested on the same episodes, and a resumed run continues with the ones it would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.data.store import Split
from core.errors import UserError
from core.ops import random


@dataclass(frozen=True)
class Shape:
    """What an episode looks like: N way, K shot, and queries per class."""

    way: int
    shot: int
    query: int

    def __str__(self) -> str:
        return f"{self.way}-way {self.shot}-shot"


@dataclass(frozen=True)
class Episodes:
    """T drawn episodes; ids are rows of the split's images."""

    classes: Tensor  # [T, N] classes of the split
    support: Tensor  # [T, N * K] class-major
    query: Tensor  # [T, N * Q] class-major
    seed: Tensor  # [T] int64, for randomness inside a method

    def part(self, first: int, last: int) -> Episodes:
        """Episodes first .. last - 1 of these."""
        here = slice(first, last)
        return Episodes(self.classes[here], self.support[here], self.query[here], self.seed[here])


class EpisodeSampler:
    """Draws any episode of a split by its index.

    Raises:
        UserError: where the split has too few classes, or a class too few images.
    """

    def __init__(self, split: Split, shape: Shape, seed: int, key: str = "TASK.TEST") -> None:
        _check(split, shape, key)
        self.shape = shape
        self._counts = torch.from_numpy(split.counts)
        self._offsets = torch.from_numpy(np.cumsum(split.counts) - split.counts)
        self._key = random.key("episode", split.fingerprint, shape.way, shape.shot, shape.query, seed)

    def draw(self, index: Tensor) -> Episodes:
        """Episodes number `index` [T] int64."""
        way, shot, query = self.shape.way, self.shape.shot, self.shape.query
        seed = random.mix(index * 2 + 1 ^ self._key)
        n_classes = torch.full_like(seed, len(self._counts))
        classes = random.subset(seed, "classes", n_classes, way)
        image_seed = random.hashes(seed, "images", way)
        within = random.subset(image_seed, "within", self._counts[classes], shot + query)
        ids = within + self._offsets[classes][..., None]
        return Episodes(classes, ids[..., :shot].flatten(1), ids[..., shot:].flatten(1), seed)


def _check(split: Split, shape: Shape, key: str) -> None:
    if shape.way > len(split.classes):
        raise UserError(
            f"{key}.WAY is {shape.way}, but the {split.name} split of {split.dataset} has {len(split.classes)} "
            "classes; lower it."
        )
    smallest = int(split.counts.argmin())
    need, have = shape.shot + shape.query, int(split.counts[smallest])
    if need > have:
        raise UserError(
            f"{key}.SHOT + {key}.QUERY is {shape.shot} + {shape.query} = {need}, but class {split.classes[smallest]!r} "
            f"of the {split.name} split of {split.dataset} has {have} images; lower one of them."
        )
