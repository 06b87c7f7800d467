"""Prototypical Networks: Snell, Swersky and Zemel, NeurIPS 2017, https://arxiv.org/abs/1703.05175."""

from __future__ import annotations

from torch import Tensor

from core.backbones.blocks import Backbone
from core.episode import DataInfo, Task
from core.methods.base import Method
from core.ops.distances import squared_euclidean
from core.ops.groups import class_mean
from core.registry import METHODS


@METHODS.register("ProtoNet")
class ProtoNet(Method):
    """Nearest class mean: prototypes c_n are mean support vectors (eq. 1), logits -scale * |f(q) - c_n|^2 (eq. 2).

    Args:
        scale: inverse temperature. 1 is the paper's; FEAT and M2L use 1/64.

    CIFAR-FS, Conv4, 5-way: 55.5 +- 0.7 at 1 shot and 72.0 +- 0.6 at 5 shots (MetaOptNet's table 2).
    Works best when trained with the shot it is tested with, and more ways than that.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, scale: float = 1.0) -> None:
        super().__init__(backbone, info)
        self.logit_scale = scale

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return -self.logit_scale * squared_euclidean(task.query["vector"], class_mean(task, "vector"))
