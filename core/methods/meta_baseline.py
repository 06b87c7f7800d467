"""Meta-Baseline: Chen, Liu, Xu, Darrell and Wang, ICCV 2021, https://arxiv.org/abs/2003.04390."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.backbones.blocks import Backbone
from core.episode import DataInfo, Task
from core.methods.base import Method
from core.ops.distances import cosine
from core.ops.groups import class_mean
from core.registry import METHODS


@METHODS.register("MetaBaseline")
class MetaBaseline(Method):
    """Logits tau * cos(f(q), c_n) with class means c_n and a learned tau, on a backbone trained as a classifier.

    A first stage trains the classifier (METHOD: Baseline); before the second one has moved anything, this is the
    paper's Classifier-Baseline. The learned tau only matters for training.

    Args:
        tau: where the factor starts; 10 in the paper.

    miniImageNet, ResNet-12 (64-128-256-512), 5-way: 63.17 +- 0.23 at 1 shot, 79.26 +- 0.17 at 5 shots.
    """

    cosine_logits = True

    def __init__(self, backbone: Backbone, info: DataInfo, *, tau: float = 10.0) -> None:
        super().__init__(backbone, info)
        self.tau = nn.Parameter(torch.tensor(tau))

    @property
    def logit_scale(self) -> Tensor:
        """Tau."""
        return self.tau

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return self.tau * cosine(task.query["vector"], class_mean(task, "vector"))
