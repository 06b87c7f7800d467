"""The contract of an objective, plain cross-entropy, and what margins share."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..registry import OBJECTIVES

LARGEST_EXPONENT = 88.0  # e^88 is the last power of e that float32 holds


def number(scale: float | Tensor) -> float:
    """A scale's present value, learned or not."""
    return float(scale.detach()) if isinstance(scale, Tensor) else scale


class Objective(nn.Module):
    """A loss on logits: hyper-parameters are keyword-only arguments of `__init__` (OBJECTIVE.ARGS in a YAML).

    `forward(logits, y, scale, class_vectors)` takes

        logits         [..., N], scale times a similarity
        y              [...] in 0..N-1
        scale          what the method multiplied its similarities by, so that margins can be given in their units
        class_vectors  word vectors of the classes: [T, N, D] for logits [T, Q, N] of T tasks, [N, D] for logits
                       [n, N] of a batch, or None

    and returns the mean loss. `needs_cosine` says that logits / scale must be cosines; `needs_semantics`, which may
    be set in `__init__`, that class vectors must be given. `progress`, 0..1 of the stage, is set by the trainer before
    each step, for what changes in the course of a stage.
    """

    needs_cosine = False
    needs_semantics = False
    progress = 1.0

    def prepare(self, classes: int) -> None:
        """Make what depends on the number of classes that the logits of a training step have."""

    def refuse(self, scale: float | Tensor) -> None:
        """Raise a UserError where the hyper-parameters cannot work with logits of this scale."""

    def scalars(self, scale: float | Tensor = 1.0) -> dict[str, float]:
        """What the training curves show of the objective, since the last call; `scale` as in `forward`."""
        return {}

    def param_groups(self, lr: float) -> list[dict]:
        """Groups for the optimiser; no weight decay, which would pull margins to zero."""
        learned = [p for p in self.parameters() if p.requires_grad]
        return [{"params": learned, "lr": lr, "weight_decay": 0.0}] if learned else []


@OBJECTIVES.register("ce")
class CrossEntropy(Objective):
    """Cross-entropy of the softmax over classes."""

    def forward(
        self, logits: Tensor, y: Tensor, scale: float | Tensor = 1.0, class_vectors: Tensor | None = None
    ) -> Tensor:
        """Mean over everything but the class axis."""
        return F.cross_entropy(logits.flatten(0, -2), y.flatten())


class Margin(CrossEntropy):
    """Cross-entropy with a margin on the target.

    Args:
        margin: of the target, in units of the similarity.
        ramp: share of the stage over which the margin grows linearly from 0; 0 = there from the start.
    """

    def __init__(self, *, margin: float, ramp: float = 0.0) -> None:
        super().__init__()
        if not 0 <= ramp <= 1:
            raise UserError(f"OBJECTIVE.ARGS.ramp is {ramp}; it is a share of the stage, from 0 to 1.")
        self.margin, self.ramp = margin, ramp

    @property
    def margin_now(self) -> float:
        """The margin at this point of the stage."""
        return self.margin * min(1.0, self.progress / self.ramp) if self.ramp else self.margin

    def scalars(self, scale: float | Tensor = 1.0) -> dict[str, float]:
        """The margin at this point."""
        return {"margin": self.margin_now}

    def refuse(self, scale: float | Tensor) -> None:
        """A margin must leave the exponential of the target's logit within float32."""
        if isinstance(scale, Tensor) and scale.is_meta:
            return  # a network without memory: its real twin is asked
        factor = number(scale)
        moved = abs(factor * self.margin)
        if not moved <= LARGEST_EXPONENT:  # `not <=` also refuses nan
            most = math.floor(100 * LARGEST_EXPONENT / abs(factor)) / 100
            raise UserError(
                f"OBJECTIVE.ARGS.margin is {self.margin}, which at scale {factor:g} moves the target's logit by "
                f"{moved:g} and overflows its exponential; choose a margin between -{most:g} and {most:g}."
            )
