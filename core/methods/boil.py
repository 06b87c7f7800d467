"""BOIL: Oh, Yoo, Kim and Yun, "BOIL: Towards Representation Change for Few-shot Learning", ICLR 2021.

https://arxiv.org/abs/2008.08882
"""

from __future__ import annotations

from typing import Any

from ..backbones.blocks import Backbone
from ..episode import DataInfo
from ..limits import NonNegative, ZeroOrMore
from ..registry import METHODS
from .inner_loop import InnerLoop


@METHODS.register("BOIL")
class BOIL(InnerLoop):
    """MAML whose body alone takes the inner steps: the head stays as it was learned, so the features must move.

    Args:
        inner_lr: of the body; 0.5 for Conv4 and 0.3 for ResNet-12 in the authors' code.
        steps: inner steps in training; 1 in the authors' code.
        test_steps: inner steps at test.
        first_order: treat the inner gradients as constants.

    Transductive by its batch-norm, see `AdaptedNetwork`.
    Differs from the authors' code: heads that are centred, orthogonal or never learned, and a ResNet-12 without the
    last shortcut, which are options there, are not built.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        inner_lr: NonNegative = 0.5,
        steps: ZeroOrMore = 1,
        test_steps: ZeroOrMore = 1,
        **loop: Any,
    ) -> None:
        super().__init__(backbone, info, steps=steps, test_steps=test_steps, **loop)
        self.inner_lr = inner_lr

    def adapts(self, name: str) -> bool:
        """The body."""
        return name.startswith("backbone.")

    def rate(self, name: str, step: int) -> float:
        """The same for the whole body."""
        return self.inner_lr
