"""The contract of an objective, and plain cross-entropy."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from core.registry import OBJECTIVES


class Objective(nn.Module):
    """A loss on logits: hyper-parameters are keyword-only arguments of `__init__` (OBJECTIVE.ARGS in a YAML).

    `forward(logits, y, scale, class_vectors)` takes

        logits         [..., N], scale times a similarity
        y              [...] in 0..N-1
        scale          what the method multiplied its similarities by, so that margins can be given in their units
        class_vectors  word vectors of the classes: [T, N, D] for logits [T, Q, N] of T tasks, [N, D] for logits
                       [n, N] of a batch, or None

    and returns the mean loss. `needs_cosine` says that logits / scale must be cosines; `needs_semantics`, which may
    be set in `__init__`, that class vectors must be given.
    """

    needs_cosine = False
    needs_semantics = False

    def prepare(self, classes: int) -> None:
        """Make what depends on the number of classes that the logits of a training step have."""

    def scalars(self) -> dict[str, float]:
        """What the training curves show of the objective, since the last call."""
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
