"""MAML: Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning", ICML 2017, https://arxiv.org/abs/1703.03400."""

from __future__ import annotations

from typing import Any

from ..backbones.blocks import Backbone
from ..episode import DataInfo
from ..limits import NonNegative
from ..registry import METHODS
from .inner_loop import InnerLoop


@METHODS.register("MAML")
class MAML(InnerLoop):
    """A network whose initial weights are learned so that a few gradient steps on the supports suffice.

    Inner loop: theta' = theta - inner_lr * grad L_support(theta), `steps` times in training and `test_steps` times
    at test (eq. 1). Outer loop: L_query(theta'), differentiated through the inner steps (second order) unless
    `first_order` is set.

    Args:
        inner_lr: of the inner steps.
        steps: inner steps in training; 5 in the paper for miniImageNet.
        test_steps: inner steps at test; 10 in the paper.
        first_order: treat the inner gradients as constants (FOMAML).

    Transductive by its batch-norm, see `AdaptedNetwork`.
    Differs from the authors' code: the outer gradient is clipped by its norm (STAGE.meta.OPTIM.CLIP), not by value.

    CIFAR-FS, Conv4 with 32 channels, 5-way: 58.9 +- 1.9 at 1 shot, 71.5 +- 1.0 at 5 (MetaOptNet's table 2).
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, inner_lr: NonNegative = 0.01, **loop: Any) -> None:
        super().__init__(backbone, info, **loop)
        self.inner_lr = inner_lr

    def rate(self, name: str, step: int) -> float:
        """The same for all."""
        return self.inner_lr
