"""Queries of base classes: with them an episode is generalized."""

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

    def draw(self, seed: Tensor, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Queries for episodes of seeds [T]: image ids and their classes, both [T, Q_b].

        `excluded` [T, N] are distinct classes that are not drawn.
        """
        n_excluded = 0 if excluded is None else excluded.shape[1]
        chance = random.uniform(seed, "base queries", (2, self.count)).double()
        classes = (chance[:, 0] * (len(self._counts) - n_excluded)).long()
        if excluded is not None:  # the r-th of the classes that remain is r + the excluded ones at or before it
            before = excluded.sort(dim=1).values - torch.arange(n_excluded)
            classes = classes + torch.searchsorted(before, classes, right=True)
        return self._offsets[classes] + (chance[:, 1] * self._counts[classes]).long(), classes
