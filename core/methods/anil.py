"""ANIL: Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse?", ICLR 2020.

https://arxiv.org/abs/1909.09157
"""

from __future__ import annotations

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import NonNegative, ZeroOrMore
from ..registry import METHODS
from .inner_loop import AdaptedHead


@METHODS.register("ANIL")
class ANIL(AdaptedHead):
    """MAML whose head alone takes the inner steps: almost no inner loop.

    The features of a task are fixed, and W' = W - inner_lr * grad L_support(W), with the bias likewise. The loss on the
    queries is differentiated through the steps into the initial head and the features. All tasks descend together, in
    the span of their supports.

    Args:
        inner_lr: of the inner steps.
        steps: inner steps in training.
        test_steps: inner steps at test.
        first_order: treat the inner gradients as constants.

    Differs from the paper: batch-norm keeps running statistics, as in LibFewShot's code, so it is inductive.
    No code of the authors is known.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        inner_lr: NonNegative = 0.01,
        steps: ZeroOrMore = 5,
        test_steps: ZeroOrMore = 10,
        first_order: bool = False,
    ) -> None:
        super().__init__(backbone, info)
        self.inner_lr, self.steps, self.test_steps, self.first_order = inner_lr, steps, test_steps, first_order

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        steps = self.steps if self.training else self.test_steps
        return self.descended(task, self.inner_lr, steps, self.first_order)
