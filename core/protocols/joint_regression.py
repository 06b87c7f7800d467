"""Logistic regression over base and novel classes together, the baseline of ImageNet low-shot.

Hariharan and Girshick, ICCV 2017, https://arxiv.org/abs/1606.02819, and their code: a linear classifier with a bias,
trained by SGD on the training images of the group's base classes and on the n shots of its novel classes. A batch holds
base and novel images as there are base and novel classes: base ones without, novel ones with replacement. Their code
takes learning rate and weight decay as options, and these are its defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..episode import Task
from ..ops import random

NAME = "LogisticRegression"


@dataclass
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
    _head: nn.Linear | None = field(default=None, repr=False)

    def __call__(self, task: Task) -> Tensor:
        """Train on a single task's shots; logits [1, Q, N] of its novel classes."""
        self._head = self._fit(task.support["vector"][0], task.support_y[0], task.way, task.seed[0])
        return self._head(task.query["vector"])[..., len(self.base_ids) :]

    def base_logits(self, task: Task) -> Tensor:
        """Logits [1, Q, n_base] of the classifier that `__call__` trained; -inf for classes of the other group."""
        assert self._head is not None  # __call__ comes first
        scores = self._head(task.query["vector"])[..., : len(self.base_ids)]
        logits = scores.new_full((*scores.shape[:-1], self.n_base), -torch.inf)
        return logits.index_copy(-1, self.base_ids, scores)

    def _fit(self, shots: Tensor, shots_y: Tensor, way: int, seed: Tensor) -> nn.Linear:
        """SGD from torch's initial range, drawn from the task's seed."""
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
                base = torch.randperm(len(self.labels), generator=generator)[:of_base]
                novel = torch.randint(len(shots_y), (of_novel,), generator=generator)
                x = torch.cat([self.vectors[base.to(shots.device)], shots[novel.to(shots.device)]])
                y = torch.cat([self.labels[base.to(shots.device)], n_base + shots_y[novel.to(shots.device)]])
                optimizer.zero_grad()
                F.cross_entropy(head(x), y).backward()
                optimizer.step()
        return head.requires_grad_(False)
