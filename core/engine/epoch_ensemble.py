"""Several trained networks of one method as one: their logits averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from ..episode import DataInfo, Features, Task
from ..methods.base import Method


class EpochEnsemble(Method):
    """The mean of what members say, whichever method they are of. Each encodes images and classifies by itself.

    The first member's features bear their own names; those of member k are called vector.k and so on.
    """

    def __init__(self, members: Sequence[Method], info: DataInfo) -> None:
        super().__init__(members[0].backbone, info)
        self.members = nn.ModuleList(members)
        self.name = members[0].name  # type: ignore[misc]  # a class has it, and here an object
        self.declare_as(members[0])

    def encode(self, pixels: Features) -> Features:
        """The features of all members."""
        features: Features = {}
        for number, member in enumerate(cast(list[Method], self.members)):
            features |= {name + _suffix(number): value for name, value in member.encode(pixels).items()}
        return features

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return self._mean(task, lambda member, seen: member.answer(seen))

    def base_logits(self, task: Task) -> Tensor:
        """Logits [T, Q, n_base] of the base classes."""
        return self._mean(task, lambda member, seen: member.base_logits(seen))

    def _mean(self, task: Task, classify: Callable[[Method, Task], Tensor]) -> Tensor:
        logits = [classify(member, _seen(task, number)) for number, member in enumerate(self.members)]  # type: ignore[arg-type]
        return torch.stack(logits).mean(0)


def _suffix(number: int) -> str:
    return f".{number}" if number else ""


def _seen(task: Task, number: int) -> Task:
    """The task with the features of one member, under their plain names."""
    suffix = _suffix(number)

    def of_member(features: Features) -> Features:
        return {
            name.removesuffix(suffix): value
            for name, value in features.items()
            if ("." in name) == bool(suffix) and name.endswith(suffix)
        }

    return replace(
        task,
        support=of_member(task.support),
        query=of_member(task.query),
        base=of_member(task.base) if task.base else None,
        base_query=of_member(task.base_query) if task.base_query else None,
    )
