"""Cosine to the class mean: what FEAT's, M2L's and MCL's code call MatchingNet."""

from __future__ import annotations

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..ops.distances import cosine
from ..ops.groups import class_mean
from ..registry import METHODS
from .base import Method


@METHODS.register("CosineProtoNet")
class CosineProtoNet(Method):
    """Logits scale * cos(f(q), c_n) with class means c_n.

    Args:
        scale: 32 in M2L.

    At one shot it is `MatchingNet` without FCE; with more shots it is another method, hence another name.
    """

    cosine_logits = True

    def __init__(self, backbone: Backbone, info: DataInfo, *, scale: float = 32.0) -> None:
        super().__init__(backbone, info)
        self.tau: float | Tensor = scale

    @property
    def logit_scale(self) -> float | Tensor:
        """What multiplies the cosine."""
        return self.tau

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return self.tau * cosine(task.query["vector"], class_mean(task, "vector"))
