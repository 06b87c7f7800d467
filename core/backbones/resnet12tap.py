"""ResNet-12 in the form of TapNet (Yoon, Seo and Moon, ICML 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from ..limits import Count, ShareBelowOne
from ..registry import BACKBONES
from .blocks import Backbone, ConvBN, Norm, size_after_pools


@BACKBONES.register("ResNet12Tap")
class ResNet12Tap(Backbone):
    """Four residual blocks of three 3x3 convolutions with bias and ReLU: 9,378,432 parameters at 64-128-256-512.

    84 px give maps of 512x6x6 (half of an odd side is rounded up), 32 px of 512x2x2; `native` vectors are averaged.

    Args:
        width: channels of the first block; each next block has twice as many.
        drop_first: dropout behind the first block; 0.3 for miniImageNet, 0.2 for tieredImageNet.
        drop_rest: dropout behind the others.
        norm: see `ConvBN`.
    """

    native_vector = "mean"

    def __init__(
        self,
        image_size: int,
        vector: str,
        *,
        width: Count = 64,
        drop_first: ShareBelowOne = 0.0,
        drop_rest: ShareBelowOne = 0.0,
        norm: Norm = "running",
    ) -> None:
        super().__init__(vector)
        widths = [width * 2**block for block in range(4)]
        size_after_pools(image_size, 4, "ResNet12Tap")
        self.channels, self.map_size = widths[-1], -(-image_size // 16)
        pairs = zip((3, *widths[:-1]), widths, (drop_first, *[drop_rest] * 3), strict=True)
        self.blocks = nn.Sequential(*(ReluResidual(before, after, rate, norm) for before, after, rate in pairs))

    def maps(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, 8 * width, H / 16, W / 16], rounded up."""
        return self.blocks(images)


class ReluResidual(nn.Module):
    """Three convolutions, ReLU after the first two, plus a 3x3 shortcut, ReLU, 2x2 max-pool, dropout."""

    def __init__(self, in_channels: int, channels: int, drop_rate: float, norm: Norm) -> None:
        super().__init__()
        first, second, third, shortcut = (
            ConvBN(inputs, channels, 3, bias=True, norm=norm)
            for inputs in (in_channels, channels, channels, in_channels)
        )
        self.body = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), third)
        self.shortcut = shortcut
        self.tail = nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.ReLU(inplace=True), nn.Dropout(drop_rate))

    def forward(self, x: Tensor) -> Tensor:
        """[n, C_in, H, W] to [n, C, H / 2, W / 2], rounded up."""
        return self.tail(self.body(x) + self.shortcut(x))
