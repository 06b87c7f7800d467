"""Prototypical Networks: Snell, Swersky and Zemel, NeurIPS 2017, https://arxiv.org/abs/1703.05175."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Positive
from ..ops.distances import SIMILARITIES
from ..ops.groups import class_mean
from ..registry import METHODS
from .base import Method


class Prototypical(Method):
    """Logits scale * similarity(query, prototype); the prototypes are the class means, or what a subclass makes.

    Args:
        metric: squared, minus the squared distance; euclidean, minus the distance itself; or cosine.
        scale: inverse temperature.
        learn_scale: train it too.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        metric: Literal["squared", "euclidean", "cosine"] = "squared",
        scale: Positive = 1.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(backbone, info)
        self.similarity, self.cosine_logits = SIMILARITIES[metric], metric == "cosine"
        self.scale = nn.Parameter(torch.tensor(scale)) if learn_scale else scale

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return self.scale * self.similarity(task.query["vector"], class_mean(task, "vector"))

    def scalars(self, progress: float = 1.0) -> dict[str, float]:
        """The objective's, and the scale where it is learned."""
        learned = {"scale": self.scale.item()} if isinstance(self.scale, nn.Parameter) else {}
        return super().scalars(progress) | learned


@METHODS.register("ProtoNet")
class ProtoNet(Prototypical):
    """Nearest class mean: prototypes c_n are mean support vectors (eq. 1), logits -scale * |f(q) - c_n|^2 (eq. 2).

    Args:
        metric: the paper's is squared; it also tries cosine.
        scale: inverse temperature. 1 is the paper's; FEAT and M2L use 1/64.
        learn_scale: train it too.

    CIFAR-FS, Conv4, 5-way: 55.5 +- 0.7 at 1 shot and 72.0 +- 0.6 at 5 shots (MetaOptNet's table 2).
    Works best when trained with the shot it is tested with, and more ways than that.
    """
