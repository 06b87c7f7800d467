"""Meta-Baseline: Chen, Liu, Xu, Darrell and Wang, ICCV 2021, https://arxiv.org/abs/2003.04390."""

from __future__ import annotations

import torch
from torch import nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo
from ..registry import METHODS
from .cosine_protonet import CosineProtoNet


@METHODS.register("MetaBaseline")
class MetaBaseline(CosineProtoNet):
    """Logits tau * cos(f(q), c_n) with class means c_n and a learned tau, on a backbone trained as a classifier.

    A first stage trains the classifier (METHOD: Baseline); before the second one has moved anything, this is the
    paper's Classifier-Baseline. The learned tau only matters for training.

    Args:
        tau: where the factor starts; 10 in the paper.

    miniImageNet, ResNet-12 (64-128-256-512), 5-way: 63.17 +- 0.23 at 1 shot, 79.26 +- 0.17 at 5 shots.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, tau: float = 10.0) -> None:
        super().__init__(backbone, info)
        self.tau = nn.Parameter(torch.tensor(tau))
