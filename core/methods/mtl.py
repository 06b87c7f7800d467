"""MTL: Sun, Liu, Chua and Schiele, "Meta-Transfer Learning for Few-Shot Learning", CVPR 2019.

https://arxiv.org/abs/1812.02391
"""

from __future__ import annotations

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..layers.scaled_conv import scale_convolutions
from ..limits import NonNegative, ZeroOrMore
from ..registry import METHODS
from .inner_loop import AdaptedHead


@METHODS.register("MTL")
class MTL(AdaptedHead):
    """A frozen pretrained network, whose kernels are scaled and shifted, and a head that descends in each task.

    A first stage trains the network on the base classes (METHOD: Baseline). Then its convolutions act as W * s and
    b + t (`ScaledConv`); s, t, the batch-norms and the head's initial rows are learned by the loss on the queries. The
    head takes full-batch steps on the supports, which are constants: to first order, the gradient of the initial head
    is that of the last one, and the network learns from the queries alone. All tasks descend together.

    Args:
        inner_lr: of the head's steps.
        steps: of the head, in training and at test; 100 in the authors' script.
        head_factor: the initial head learns with so many times the rate of the network.

    Differs from the authors' code: the classifier over the base classes is linear, not a perceptron; supports and
    queries of a step pass the batch-norms together; the hard tasks of the paper, which their code lacks, are not drawn.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        inner_lr: NonNegative = 0.01,
        steps: ZeroOrMore = 100,
        head_factor: NonNegative = 10.0,
    ) -> None:
        super().__init__(backbone, info)
        scale_convolutions(backbone)
        self.inner_lr, self.steps, self.head_factor = inner_lr, steps, head_factor

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return self.descended(task, self.inner_lr, self.steps, first_order=True)

    def special_groups(self, lr: float) -> list[dict]:
        """The initial head learns at `head_factor` times the network's rate."""
        return [{"params": list(self.head.parameters()), "lr": self.head_factor * lr}]
