"""Negative-margin softmax: Liu et al., "Negative Margin Matters", ECCV 2020."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..registry import OBJECTIVES
from .base import Margin, cross_entropy, number
from .loss import Loss


@OBJECTIVES.register("negmargin")
class NegMarginLoss(Margin):
    """Cross-entropy with scale * margin taken from the target's logit (the paper's equations 1 and 2).

    With a = logits / scale: -log( exp(s (a_y - m)) / (exp(s (a_y - m)) + sum_{j != y} exp(s a_j)) ). A negative
    margin m raises the target's logit by delta = -s m and so relaxes the constraint; m = 0 is cross-entropy, m > 0
    CosFace. Delta is what compares margins across scales: every epoch notes it.
    """

    def __init__(self, *, margin: float = -0.02, **more: Any) -> None:
        super().__init__(margin=margin, **more)

    def forward(
        self,
        logits: Tensor,
        y: Tensor,
        scale: float | Tensor = 1.0,
        class_vectors: Tensor | None = None,
        progress: float = 1.0,
    ) -> Loss:
        target = F.one_hot(y, logits.shape[-1]).to(logits.dtype)
        return Loss(cross_entropy(logits - scale * self.margin_at(progress) * target, y), logits, y)

    def scalars(self, scale: float | Tensor = 1.0, progress: float = 1.0) -> dict[str, float]:
        """The margin, and the bonus delta that it gives the target's logit."""
        return super().scalars(scale, progress) | {"delta": 0.0 - number(scale) * self.margin_at(progress)}
