"""Trials over all classes of a split: k supports of each class, and the rest of its images as queries."""

from __future__ import annotations

import torch
from torch import Tensor

from ..ops import random
from .episodes import Episodes, EpisodeSampler, Shape
from .store import Split


class AllWaySampler:
    """Draws trials by number; a trial is a pure function of (split, shot, queries, seed, index).

    Args:
        split: the images.
        shot: supports of each class.
        queries: of each class at most; a class with fewer images beside its supports gives them all.
        seed: of the trials.

    Raises:
        UserError: where a class has no image left beside its supports.
    """

    def __init__(self, split: Split, shot: int, queries: int, seed: int) -> None:
        way = len(split.classes)
        EpisodeSampler(split, Shape(way, shot, 1), seed, "TASK.TEST")  # refuses a class without a query
        self._supports = EpisodeSampler(split, Shape(way, shot, 0), seed)
        self.shape = self._supports.shape
        self._queries, self._labels = queries, torch.from_numpy(split.labels)

    def draw(self, index: int) -> Episodes:
        """Trial number `index`, as one episode; its queries stand class by class, in the order of the labels."""
        drawn = self._supports.draw(torch.tensor([index]))
        order = random.hashes(drawn.seed[0], "allway queries", len(self._labels))
        spare = torch.ones(len(self._labels), dtype=torch.bool)
        spare[drawn.support[0]] = False
        query = self._first_of_each_class(spare.nonzero()[:, 0], order)
        label_of_class = drawn.classes[0].argsort()
        query_y = label_of_class[self._labels[query]]
        by_label = query_y.argsort(stable=True)
        return Episodes(drawn.classes, drawn.support, query[by_label][None], query_y[by_label][None], drawn.seed)

    def _first_of_each_class(self, images: Tensor, order: Tensor) -> Tensor:
        """The images of each class that come first in an order, as many as a class may have queries."""
        images = images[order[images].argsort()]
        images = images[self._labels[images].argsort(stable=True)]
        counts = self._labels[images].bincount(minlength=self.shape.way)
        first = counts.cumsum(0) - counts
        place = torch.arange(len(images)) - first[self._labels[images]]
        return images[place < self._queries]
