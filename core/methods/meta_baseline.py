"""Meta-Baseline: Chen, Liu, Xu, Darrell and Wang, ICCV 2021, https://arxiv.org/abs/2003.04390."""

from __future__ import annotations

from ..backbones.blocks import Backbone
from ..episode import DataInfo
from ..limits import Positive
from ..registry import METHODS
from .protonet import Prototypical


@METHODS.register("MetaBaseline")
class MetaBaseline(Prototypical):
    """Logits scale * cos(f(q), c_n) with class means c_n and a learned scale, on a backbone trained as a classifier.

    A first stage trains the classifier (METHOD: Baseline); before the second one has moved anything, this is the
    paper's Classifier-Baseline. The learned scale, the paper's tau, only matters for training.

    Args:
        scale: where the learned scale starts; 10 in the paper.

    miniImageNet, ResNet-12 (64-128-256-512), 5-way: 63.17 +- 0.23 at 1 shot, 79.26 +- 0.17 at 5 shots.
    """

    renamed = {"tau": "scale"}

    def __init__(self, backbone: Backbone, info: DataInfo, *, scale: Positive = 10.0) -> None:
        super().__init__(backbone, info, metric="cosine", scale=scale, learn_scale=True)
