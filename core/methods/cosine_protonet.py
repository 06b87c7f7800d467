"""Cosine to the class mean: what FEAT's, M2L's and MCL's code call MatchingNet."""

from __future__ import annotations

from ..backbones.blocks import Backbone
from ..episode import DataInfo
from ..limits import Positive
from ..registry import METHODS
from .protonet import Prototypical


@METHODS.register("CosineProtoNet")
class CosineProtoNet(Prototypical):
    """Logits scale * cos(f(q), c_n) with class means c_n.

    Args:
        scale: 32 in M2L.

    At one shot it is `MatchingNet` without FCE; with more shots it is another method, hence another name.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, scale: Positive = 32.0) -> None:
        super().__init__(backbone, info, metric="cosine", scale=scale)
