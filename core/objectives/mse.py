"""Squared error of sigmoid scores."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..registry import OBJECTIVES
from .base import Objective
from .loss import Loss


@OBJECTIVES.register("mse")
class MSE(Objective):
    """RelationNet's loss (Sung et al., CVPR 2018, eq. 2).

    The mean over queries and classes of (sigmoid(logit) - [y = n])^2.
    """

    def forward(self, logits: Tensor, y: Tensor, *_: object, **__: object) -> Loss:
        value = F.mse_loss(logits.sigmoid(), F.one_hot(y, logits.shape[-1]).to(logits.dtype))
        return Loss(value, logits, y)
