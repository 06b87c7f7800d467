"""The contract of an objective, cross-entropy, and the base class of margins on the target."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..limits import Share
from ..pictures import ClassPicture
from ..registry import OBJECTIVES
from .loss import Loss

LARGEST_EXPONENT = 88.0  # e^88 is the last power of e that float32 holds


def number(scale: float | Tensor) -> float:
    """A scale's present value, learned or not."""
    return float(scale.detach()) if isinstance(scale, Tensor) else scale


class Objective(nn.Module):
    """A loss on logits: hyper-parameters are keyword-only arguments of `__init__` (OBJECTIVE.ARGS in a YAML).

    A subclass writes `forward`. Two declarations say what it cannot do without:

        needs_cosine     logits / scale must be cosines
        needs_semantics  word vectors of the classes must be given; may be set in `__init__`
    """

    needs_cosine = False
    needs_semantics = False

    @property
    def follows_progress(self) -> bool:
        """Whether the loss depends on `progress`; if so, a run cannot go on for more epochs than it was begun with."""
        return False

    def forward(
        self,
        logits: Tensor,
        y: Tensor,
        scale: float | Tensor = 1.0,
        class_vectors: Tensor | None = None,
        progress: float = 1.0,
    ) -> Loss:
        """The mean loss of answers, together with these answers and what was measured on the way.

        Args:
            logits: [..., N], scale times a similarity.
            y: right classes, [...] in 0..N-1.
            scale: what the method multiplied its similarities by, so that margins can be given in their units.
            class_vectors: word vectors of the classes: [T, N, D] for logits [T, Q, N] of T tasks, [N, D] for logits
                [n, N] of a batch.
            progress: 0..1 of the stage, for what changes in the course of it.
        """
        raise NotImplementedError

    def prepare(self, classes: int) -> None:
        """Build what depends on the number of classes in the logits of a training step."""

    def refuse(self, scale: float | Tensor) -> None:
        """Raise a UserError where the hyper-parameters cannot work with logits of this scale."""

    def scalars(self, scale: float | Tensor = 1.0, progress: float = 1.0) -> dict[str, float]:
        """Numbers that the parameters, the method's scale and the progress of the stage determine, for the curves."""
        return {}

    def pictures(self, class_vectors: Tensor) -> list[ClassPicture]:
        """What can be shown of a training step on classes with these word vectors [N, D] (default: nothing)."""
        return []

    def param_groups(self, lr: float) -> list[dict]:
        """Groups for the optimiser; no weight decay, which would pull margins to zero."""
        learned = [p for p in self.parameters() if p.requires_grad]
        return [{"params": learned, "lr": lr, "weight_decay": 0.0}] if learned else []


@OBJECTIVES.register("ce")
class CrossEntropy(Objective):
    """Cross-entropy of the softmax over classes."""

    def forward(self, logits: Tensor, y: Tensor, *_: object, **__: object) -> Loss:
        return Loss(cross_entropy(logits, y), logits, y)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Mean over everything but the class axis."""
    return F.cross_entropy(logits.flatten(0, -2), y.flatten())


class Margin(Objective):
    """Cross-entropy with a margin on the target.

    Args:
        margin: of the target, in units of the similarity.
        ramp: share of the stage over which the margin grows linearly from 0; 0 = there from the start.
    """

    def __init__(self, *, margin: float, ramp: Share = 0.0) -> None:
        super().__init__()
        self.margin, self.ramp = margin, ramp

    @property
    def follows_progress(self) -> bool:
        """Whether the margin still grows in the course of the stage."""
        return self.ramp > 0

    def margin_at(self, progress: float) -> float:
        """The margin at a point of the stage, 0..1."""
        return self.margin * min(1.0, progress / self.ramp) if self.ramp else self.margin

    def scalars(self, scale: float | Tensor = 1.0, progress: float = 1.0) -> dict[str, float]:
        return {"margin": self.margin_at(progress)}

    def refuse(self, scale: float | Tensor) -> None:
        """A margin must leave the exponential of the target's logit within float32."""
        if isinstance(scale, Tensor) and scale.is_meta:
            return  # built on the meta device, where a scale has no value
        factor = number(scale)
        moved = abs(factor * self.margin)
        if not moved <= LARGEST_EXPONENT:  # `not <=` also refuses nan
            most = math.floor(100 * LARGEST_EXPONENT / abs(factor)) / 100
            raise UserError(
                f"OBJECTIVE.ARGS.margin is {self.margin}, which at scale {factor:g} moves the target's logit by "
                f"{moved:g} and overflows its exponential; choose a margin between -{most:g} and {most:g}."
            )
