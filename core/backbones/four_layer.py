"""The four-layer networks of M2L, which follow DN4's, for methods that compare maps."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import UserError
from ..limits import Count
from ..registry import BACKBONES
from .blocks import Backbone, ConvBN, Norm, size_after_pools


class FourLayer(Backbone):
    """A sequence of layers that starts from Xavier's initial weights.

    Args:
        width: channels of every layer.
        norm: see `ConvBN`.
    """

    def __init__(self, vector: str, layers: list[nn.Module], width: int, map_size: int) -> None:
        super().__init__(vector)
        self.channels, self.map_size = width, map_size
        self.layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)

    def maps(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, width, h, w]."""
        return self.layers(images)


def _blocks(width: int, norm: Norm, pools: list[bool]) -> list[nn.Module]:
    """Blocks of a 3x3 convolution, batch-norm, a 2x2 max-pool where `pools` is true, and LeakyReLU(0.2).

    Differs from the authors' code: pooling comes before the activation, with the same result.
    """
    layers: list[nn.Module] = []
    for block, pool in enumerate(pools):
        layers.append(ConvBN(width if block else 3, width, 3, bias=False, norm=norm))
        layers += [nn.MaxPool2d(2)] if pool else []
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return layers


@BACKBONES.register("FourLayer_64F")
class FourLayer64F(FourLayer):
    """Three blocks, of which two halve the image, then a convolution without padding, batch-norm or activation.

    112,704 parameters at 64 channels. 84 px give maps of 19x19 (361 local descriptors, which may be negative), 32 px
    of 6x6; `native` vectors are averaged.
    """

    def __init__(self, image_size: int, vector: str, *, width: Count = 64, norm: Norm = "running") -> None:
        if image_size < 12:
            raise UserError(f"DATASET.SIZE is {image_size}, but BACKBONE.NAME FourLayer_64F needs 12 pixels or more.")
        layers = [*_blocks(width, norm, [True, True, False]), nn.Conv2d(width, width, 3, bias=False)]
        super().__init__(vector, layers, width, image_size // 4 - 2)


@BACKBONES.register("FourLayer_64F_4x")
class FourLayer64F4x(FourLayer):
    """Four equal blocks that halve the image: 112,832 parameters at 64 channels, maps of 5x5 at 84 px, 2x2 at 32."""

    def __init__(self, image_size: int, vector: str, *, width: Count = 64, norm: Norm = "running") -> None:
        side = size_after_pools(image_size, 4, "FourLayer_64F_4x")
        super().__init__(vector, _blocks(width, norm, [True] * 4), width, side)
