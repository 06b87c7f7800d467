"""Tasks that share no image: the images of a split are dealt out like a pack of cards, several times over.

Ordinary episodes are drawn with replacement from a fixed set of images, so the more there are, the more they describe
that set alone. Disjoint tasks use an image at most once, so their spread also shows how much the choice of images
matters ("Oops, I Sampled it Again", TMLR 2024, https://arxiv.org/abs/2409.02850).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..ops import random
from .episodes import Episodes, Shape
from .store import Split


class DisjointSampler:
    """Partitions 0 .. `partitions` - 1 of a split; episode i is task i % `tasks` of partition i // `tasks`.

    Each class's images are shuffled and cut into blocks of shot + query. A task takes one block from each of the
    classes with most blocks left, ties in random order, until fewer than `way` classes have any: that is the largest
    possible number of tasks. Everything follows from the split's fingerprint, the shape, the seed and the partition.
    """

    def __init__(self, split: Split, shape: Shape, seed: int, partitions: int) -> None:
        self.shape = shape
        self.tasks = count_tasks(split.counts // (shape.shot + shape.query), shape.way)
        key = random.key("disjoint", split.fingerprint, shape.way, shape.shot, shape.query, seed)
        self._seed = random.hashes(torch.tensor(key), "task", partitions * self.tasks)
        dealt = [self._deal(split.counts, torch.tensor(random.key(key, p))) for p in range(partitions)]
        self._classes, self._images = (torch.from_numpy(np.concatenate(part)) for part in zip(*dealt, strict=True))

    def __len__(self) -> int:
        return len(self._classes)

    def draw(self, index: Tensor) -> Episodes:
        """Episodes number `index` [T] int64."""
        shot, images = self.shape.shot, self._images[index]
        support, query = images[..., :shot].flatten(1), images[..., shot:].flatten(1)
        query_y = torch.arange(self.shape.way).repeat_interleave(self.shape.query).expand(len(index), -1)
        return Episodes(self._classes[index], support, query, query_y, self._seed[index])

    def _deal(self, counts: np.ndarray, seed: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Classes [tasks, N] and images [tasks, N, K + Q] of one partition."""
        size, way = self.shape.shot + self.shape.query, self.shape.way
        offsets = np.cumsum(counts) - counts
        seeds = random.hashes(seed, "images", len(counts))
        shuffled = [random.permutation(s, "order", n).numpy() for s, n in zip(seeds, counts.tolist(), strict=True)]
        ties = random.hashes(random.hashes(seed, "ties", self.tasks), "classes", len(counts)).numpy()
        left, next_block = counts // size, np.zeros(len(counts), dtype=np.int64)
        classes = np.empty((self.tasks, way), dtype=np.int64)
        images = np.empty((self.tasks, way, size), dtype=np.int64)
        for task in range(self.tasks):
            chosen = np.lexsort((ties[task], -left))[:way]
            classes[task] = chosen
            for position, c in enumerate(chosen):
                first = next_block[c] * size
                images[task, position] = offsets[c] + shuffled[c][first : first + size]
            left[chosen] -= 1
            next_block[chosen] += 1
        return classes, images


def count_tasks(blocks: np.ndarray, way: int) -> int:
    """The largest number of tasks of `way` different classes each, from so many blocks of each class."""
    tasks = int(blocks.sum()) // way
    while np.minimum(blocks, tasks).sum() < way * tasks:
        tasks -= 1
    return tasks
