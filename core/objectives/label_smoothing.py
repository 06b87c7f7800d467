"""Cross-entropy with smoothed labels: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from ..limits import Bounds
from ..registry import OBJECTIVES
from .base import Objective
from .loss import Loss


@OBJECTIVES.register("label_smoothing")
class LabelSmoothing(Objective):
    """Cross-entropy to a target of 1 - smoothing at the right class, and equal shares of it at the N - 1 others.

    This is MetaOptNet's form. PyTorch's spreads `label_smoothing` over all N classes, so it is N / (N - 1) times this.

    Args:
        smoothing: share of the target that the wrong classes get, 0 to below 0.5.
    """

    def __init__(self, *, smoothing: Annotated[float, Bounds(">= 0", "< 0.5")] = 0.1) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, logits: Tensor, y: Tensor, *_: object, **__: object) -> Loss:
        ways = logits.shape[-1]
        spread = self.smoothing * ways / (ways - 1)
        value = F.cross_entropy(logits.flatten(0, -2), y.flatten(), label_smoothing=spread)
        return Loss(value, logits, y)
