"""What a loss returns: its value, and what a step of training tells about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Over = Literal["mean", "min", "max", "last"]


class Scalar(NamedTuple):
    """A number that an objective or a method measures in a step, and how the numbers of an epoch become one.

    Numbers that can be read from the parameters at any time, such as a learned scale, are no measurements: they are
    told by `scalars()` of the objective or the method.
    """

    value: Tensor  # [], or [n] of n calls of the objective in one step; without a gradient
    over: Over = "mean"


@dataclass(frozen=True)
class Loss:
    """The value that is minimised, and the answers from which the training accuracy is counted.

    `logits` are those that the objective was given, before a margin changed them. A loss that has no answers to count,
    such as an auxiliary one, leaves `logits` and `y` out.
    """

    value: Tensor  # []
    logits: Tensor | None = None  # [..., N]
    y: Tensor | None = None  # [...] in 0..N-1
    scalars: Mapping[str, Scalar] = field(default_factory=dict)


def weighted_sum(losses: Sequence[Loss], weights: Sequence[float]) -> Loss:
    """The loss sum_i weights_i * losses_i, of losses on the same queries; it counts the answers of all of them."""
    measured = [{name: Scalar(value.reshape(-1), over) for name, (value, over) in s.scalars.items()} for s in losses]
    scalars = {
        name: Scalar(torch.cat([numbers[name].value for numbers in measured]), over)
        for name, (_, over) in measured[0].items()
    }
    return Loss(
        torch.stack([weight * loss.value for weight, loss in zip(weights, losses, strict=True)]).sum(),
        torch.stack([loss.logits for loss in losses if loss.logits is not None]),
        torch.stack([loss.y for loss in losses if loss.y is not None]),
        scalars,
    )
