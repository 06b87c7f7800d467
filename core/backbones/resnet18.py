"""ResNet-18 (He et al., CVPR 2016) without its classifier, as few-shot papers use it at 224 px and at smaller sizes."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ..limits import Count, ShareBelowOne, ZeroOrMore
from ..registry import BACKBONES
from .blocks import Backbone, ConvBN, Norm
from .resnet12 import DropBlock

WIDTHS = (64, 128, 256, 512)


@BACKBONES.register("ResNet18")
class ResNet18(Backbone):
    """Four stages of two basic blocks, each stage but the first halving the map; `native` vectors are averaged.

    Args:
        stem: 7 is the 7x7 convolution and 3x3 max-pool, each of stride 2, of Chen et al., "A Closer Look at Few-shot
            Classification", ICLR 2019, and of NegMargin: 224 px give maps of 512x7x7, 11,176,512 parameters. 3 is
            one 3x3 convolution of stride 1 for small images: 84 px give 512x11x11, 32 px 512x4x4, 11,168,832.
        drop_rate, drop_size, drop_ramp: dropout after every block as in `ResNet12`: of elements in the first two
            stages, of squares in the last two. NegMargin uses 0.1 to 0.2 with squares of 3 to 5 pixels.
        norm: see `ConvBN`.
    """

    def __init__(
        self,
        image_size: int,
        vector: str,
        *,
        stem: Literal[3, 7] = 7,
        drop_rate: ShareBelowOne = 0.0,
        drop_size: Count = 5,
        drop_ramp: ZeroOrMore = 40000,
        norm: Norm = "running",
    ) -> None:
        super().__init__(vector)
        self.channels, self.map_size = WIDTHS[-1], -(-image_size // (32 if stem == 7 else 8))
        activation = nn.ReLU(inplace=True)
        first = ConvBN(3, WIDTHS[0], stem, bias=False, norm=norm, stride=2 if stem == 7 else 1)
        pool = [nn.MaxPool2d(3, stride=2, padding=1)] if stem == 7 else []
        blocks: list[nn.Module] = []
        channels = WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for stride in (2 if stage else 1, 1):
                drop = nn.Dropout(drop_rate) if stage < 2 else DropBlock(drop_rate, drop_size, drop_ramp)
                blocks.append(BasicBlock(channels, width, stride, drop, norm))
                channels = width
        self.layers = nn.Sequential(first, *pool, activation, *blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, 512, h, w], h and w being H and W over 32 (stem 7) or 8 (stem 3), rounded up."""
        return self.layers(images)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions plus a shortcut (1x1 where the width changes), ReLU, dropout."""

    def __init__(self, in_channels: int, channels: int, stride: int, drop: nn.Module, norm: Norm) -> None:
        super().__init__()
        activation = nn.ReLU(inplace=True)
        self.body = nn.Sequential(
            ConvBN(in_channels, channels, 3, bias=False, norm=norm, stride=stride),
            activation,
            ConvBN(channels, channels, 3, bias=False, norm=norm),
        )
        widened = in_channels != channels
        self.shortcut = (
            ConvBN(in_channels, channels, 1, bias=False, norm=norm, stride=stride) if widened else nn.Identity()
        )
        self.tail = nn.Sequential(activation, drop)

    def forward(self, x: Tensor) -> Tensor:
        """[n, C_in, H, W] to [n, C, H / stride, W / stride], rounded up."""
        return self.tail(self.body(x) + self.shortcut(x))
