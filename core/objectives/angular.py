"""Margins on the angle and on the cosine: ArcFace and CosFace."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..registry import OBJECTIVES
from .base import Margin, cross_entropy
from .loss import Loss
from .negmargin import NegMarginLoss


@OBJECTIVES.register("cosface")
class CosFace(NegMarginLoss):
    """Wang et al., "CosFace", CVPR 2018: the target's logit becomes scale * (cos - margin) (eq. 4)."""

    needs_cosine = True

    def __init__(self, *, margin: float = 0.35, **more: Any) -> None:
        super().__init__(margin=margin, **more)


@OBJECTIVES.register("arcface")
class ArcFace(Margin):
    """Deng et al., "ArcFace", CVPR 2019: the target's logit becomes scale * cos(theta + margin) (eq. 3).

    Beyond theta = pi - margin, where cos(theta + margin) would rise again, it continues as cos(theta) - margin *
    sin(margin), as in the authors' code. The sine is taken of a clamped square, so gradients stay finite at
    theta = 0 and pi.
    """

    needs_cosine = True

    def __init__(self, *, margin: float = 0.5, **more: Any) -> None:
        if not 0 <= margin <= math.pi:
            raise UserError(
                f"OBJECTIVE.ARGS.margin is {margin}; arcface adds it to an angle: give 0 to pi, or take negmargin, "
                "which may be negative."
            )
        super().__init__(margin=margin, **more)

    def forward(
        self,
        logits: Tensor,
        y: Tensor,
        scale: float | Tensor = 1.0,
        class_vectors: Tensor | None = None,
        progress: float = 1.0,
    ) -> Loss:
        cosine, margin = logits / scale, self.margin_at(progress)
        sine = (1 - cosine.square()).clamp(min=1e-12).sqrt()
        moved = cosine * math.cos(margin) - sine * math.sin(margin)
        straight = cosine - margin * math.sin(margin)
        moved = torch.where(cosine > -math.cos(margin), moved, straight)
        target = F.one_hot(y, logits.shape[-1]).bool()
        return Loss(cross_entropy(torch.where(target, scale * moved, logits), y), logits, y)
