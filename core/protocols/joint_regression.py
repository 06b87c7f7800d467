"""Logistic regression over base and novel classes together, the baseline of ImageNet low-shot.

Hariharan and Girshick, ICCV 2017, https://arxiv.org/abs/1606.02819, and their code: a linear classifier with a bias,
trained by SGD on the training images of the group's base classes and on the n shots of its novel classes. A batch holds
base and novel images as there are base and novel classes: base ones without, novel ones with replacement. Their code
takes learning rate and weight decay as options, and these are its defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..episode import Task
from ..ops import random

NAME = "LogisticRegression"


@dataclass(frozen=True)
class JointRegression:
    """Trained anew for each task; learning rate and the like are those of the authors' code.

    Args:
        vectors, labels: base training images, [M, D] and [M] in 0..B-1. They stay in memory.
        base_ids: [B] which of all base classes they are.
        n_base: all base classes; those of the other group get no score.
    """

    vectors: Tensor
    labels: Tensor
    base_ids: Tensor
    n_base: int
    steps: int = 10_000
    batch: int = 1000
    lr: float = 0.1
    momentum: float = 0.9
    dampening: float = 0.9
    weight_decay: float = 1e-3

    def __call__(self, task: Task) -> tuple[Tensor, Tensor]:
        """Train on a single task's shots.

        Returns:
            Logits [1, Q, N] of its novel classes, and [1, Q, n_base], -inf for base classes of the other group.
        """
        head = self._fit(task.support["vector"][0], task.support_y[0], task.way, task.seed[0])
        base, novel = head(task.query["vector"]).split([len(self.base_ids), task.way], dim=-1)
        return novel, base.new_full((*base.shape[:-1], self.n_base), -torch.inf).index_copy(-1, self.base_ids, base)

    def _fit(self, shots: Tensor, shots_y: Tensor, way: int, seed: Tensor) -> nn.Linear:
        """SGD from weights in torch's initial range, drawn from the task's seed, and biases of 0."""
        n_base, width = len(self.base_ids), shots.shape[1]
        head = nn.Linear(width, n_base + way, device=shots.device)
        with torch.no_grad():
            head.weight.copy_((random.uniform(seed, "joint", (n_base + way, width)) * 2 - 1) / width**0.5)
            head.bias.zero_()
        optimizer = torch.optim.SGD(head.parameters(), self.lr, self.momentum, self.dampening, self.weight_decay)
        of_base = min(round(self.batch * n_base / (n_base + way)), len(self.labels))
        of_novel = max(1, self.batch - of_base)
        generator = torch.Generator().manual_seed(int(seed) & 0x7FFFFFFF)
        with torch.enable_grad():
            for _ in range(self.steps):
                base = distinct(of_base, len(self.labels), generator).to(shots.device)
                novel = torch.randint(len(shots_y), (of_novel,), generator=generator).to(shots.device)
                x = torch.cat([self.vectors[base], shots[novel]])
                y = torch.cat([self.labels[base], n_base + shots_y[novel]])
                optimizer.zero_grad()
                F.cross_entropy(head(x), y).backward()
                optimizer.step()
        return head.requires_grad_(False)


def distinct(count: int, n: int, generator: torch.Generator) -> Tensor:
    """Different numbers below n, [count], every set equally likely; a few of many without a permutation of all."""
    if 2 * count > n:
        return torch.randperm(n, generator=generator)[:count]
    numbers = torch.empty(0, dtype=torch.long)
    while len(numbers) < count:
        more = torch.randint(n, (count - len(numbers),), generator=generator)
        numbers = torch.cat([numbers, more]).unique()
    return numbers
