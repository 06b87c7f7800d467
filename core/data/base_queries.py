"""Queries of base classes, which make an episode generalized."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..ops import random
from .store import Split


class BaseQueries:
    """Draws images of base classes: a class uniformly, then one of its images, with replacement.

    Gidaris and Komodakis, CVPR 2018, draw the classes in this way. A pure function of the episode's seed.
    """

    def __init__(self, split: Split, count: int) -> None:
        self.count = count
        self._counts = torch.from_numpy(split.counts)
        self._offsets = torch.from_numpy(np.cumsum(split.counts) - split.counts)

    def draw(self, seed: Tensor, but: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rows of the split and their classes, both [T, Q_b], for seeds [T] of classes other than `but` [T, N]."""
        taken = 0 if but is None else but.shape[1]
        chance = random.uniform(seed, "base queries", (2, self.count)).double()
        classes = (chance[:, 0] * (len(self._counts) - taken)).long()
        if but is not None:  # the r-th of the classes that are left: r + the taken ones at or before it
            before = but.sort(dim=1).values - torch.arange(taken)
            classes = classes + torch.searchsorted(before, classes, right=True)
        return self._offsets[classes] + (chance[:, 1] * self._counts[classes]).long(), classes
