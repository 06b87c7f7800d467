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
        class_vectors  [..., N, D] word vectors of the classes, or None

    and returns the mean loss. `needs_cosine` says that logits / scale must be cosines.
    """

    needs_cosine = False


@OBJECTIVES.register("ce")
class CrossEntropy(Objective):
    """Cross-entropy of the softmax over classes."""

    def forward(
        self, logits: Tensor, y: Tensor, scale: float | Tensor = 1.0, class_vectors: Tensor | None = None
    ) -> Tensor:
        """Mean over everything but the class axis."""
        return F.cross_entropy(logits.flatten(0, -2), y.flatten())
