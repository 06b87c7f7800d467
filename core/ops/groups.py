"""Sums and means over the supports of each class: the one place that knows the order of supports in a task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..episode import Task


def class_mean(task: Task, feature: str) -> Tensor:
    """Mean of a feature over the supports of each class, [T, n_s, *] to [T, N, *]; shots may be unequal."""
    return mean_by_class(task.support[feature], task)


def mean_by_class(support: Tensor, task: Task) -> Tensor:
    """Mean of `support` [T, n_s, *], one entry for each support of the task, over each class: [T, N, *]."""
    if task.shot is not None:
        return support.unflatten(1, (task.way, task.shot)).mean(2)
    member = F.one_hot(task.support_y, task.way).to(support.dtype)
    total = member.transpose(1, 2) @ support.flatten(2)
    return (total / member.sum(1)[..., None]).unflatten(2, support.shape[2:])


def class_shots(task: Task) -> list[int]:
    """The number of supports of each class, in the order of the classes: N numbers that sum to n_s."""
    if task.shot is not None:
        return [task.shot] * task.way
    return task.support_y[0].bincount(minlength=task.way).tolist()


def stacked_by_class(support: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Supports [T, n_s, *] stacked class by class, [T, N, K, *], and the shot of each class, [T, N].

    Where shots are unequal, K is the largest shot, and the other classes are padded with zeros.
    """
    shots = F.one_hot(task.support_y, task.way).sum(1)
    if task.shot is not None:
        return support.unflatten(1, (task.way, task.shot)), shots
    first = shots.cumsum(1) - shots
    place = torch.arange(support.shape[1], device=support.device) - first.gather(1, task.support_y)
    stacked = support.new_zeros(len(support), task.way, int(shots.max()), *support.shape[2:])
    index = torch.arange(len(support), device=support.device)[:, None]
    return stacked.index_put((index, task.support_y, place), support), shots
