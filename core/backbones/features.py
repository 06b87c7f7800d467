"""Features: the backbone of data sets that hold features instead of images."""

from __future__ import annotations

from torch import Tensor, nn

from ..limits import ShareBelowOne, ZeroOrMore
from ..registry import BACKBONES
from .blocks import Backbone


@BACKBONES.register("Features")
class Features(Backbone):
    """Passes stored features on as `vector`; there are no maps.

    Args:
        length: D, the length of a stored feature.
        vector: BACKBONE.VECTOR, which has no effect here.
        width: output width of a learned linear layer, without which methods such as ProtoNet have nothing to learn; 0 =
            no layer.
        dropout: of the features in training; 0.5 in the code of Gidaris and Komodakis (CVPR 2018), whose second stage
            trains on stored features.
    """

    input_dims = 1

    def __init__(self, length: int, vector: str, *, width: ZeroOrMore = 0, dropout: ShareBelowOne = 0.0) -> None:
        super().__init__(vector)
        self.channels, self.map_size = width or length, 0
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(length, width) if width else nn.Identity())

    @property
    def vector_dim(self) -> int:
        """D, the length of `vector`."""
        return self.channels

    def forward(self, vectors: Tensor) -> dict[str, Tensor]:
        """[n, D] to {vector: [n, width or D]}."""
        return {"vector": self.layers(vectors)}
