"""ResNet-12 in the form of TADAM (Oreshkin, Rodriguez and Lacoste, NeurIPS 2018), which AM3 and TRAML use."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.scaled_normal import start_scaled_normal
from ..limits import Count
from ..registry import BACKBONES
from .blocks import Backbone, ConvBN, Film, Norm, Pools, modulate, size_after_pools

CONVOLUTIONS = 3  # of a block
EPS, MOMENTUM = 1e-3, 0.05  # of batch-norm


@BACKBONES.register("ResNet12T")
class ResNet12T(Backbone):
    """Four residual blocks of three 3x3 convolutions, with swish: 7,996,800 parameters at 64-128-256-512.

    84 px give maps of 512x11x11, 32 px of 512x4x4: half of an odd side is rounded up, as by TensorFlow's padding;
    `native` vectors are averaged.

    Args:
        width: channels of the first block; each next block has twice as many.
        pools: how many blocks, from the first, halve the image: 3 in the authors' code, 4 in the paper's text.
        norm: see `ConvBN`.

    A `Film` acts on the 3x3 convolutions, after their batch-norm.
    Weights start as in the authors' code, see `start_scaled_normal`; batch-norm has its constants, eps 0.001 and a
    momentum of 0.05 in PyTorch's sense.
    """

    native_vector = "mean"

    def __init__(
        self, image_size: int, vector: str, *, width: Count = 64, pools: Pools = 3, norm: Norm = "running"
    ) -> None:
        super().__init__(vector)
        widths = [width * 2**block for block in range(4)]
        size_after_pools(image_size, pools, "ResNet12T")
        self.channels, self.map_size = widths[-1], -(-image_size // 2**pools)
        self.film_widths = tuple(w for w in widths for _ in range(CONVOLUTIONS))
        inputs = (3, *widths[:-1])
        self.blocks = nn.ModuleList(
            SwishResidual(i, w, block < pools, norm) for block, (i, w) in enumerate(zip(inputs, widths, strict=True))
        )
        start_scaled_normal(self)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = EPS, MOMENTUM

    def maps(self, images: Tensor, film: Film | None = None) -> Tensor:
        """[n, 3, H, W] to [n, 8 * width, H / 2^pools, W / 2^pools], rounded up."""
        for number, block in enumerate(self.blocks):
            images = block(images, film and film[number * CONVOLUTIONS : (number + 1) * CONVOLUTIONS])
        return images


class SwishResidual(nn.Module):
    """Three convolutions, swish after the first two, plus a 1x1 shortcut, swish, 2x2 max-pool."""

    def __init__(self, in_channels: int, channels: int, pool: bool, norm: Norm) -> None:
        super().__init__()
        inputs = (in_channels, *[channels] * (CONVOLUTIONS - 1))
        self.body = nn.ModuleList(ConvBN(i, channels, 3, bias=False, norm=norm) for i in inputs)
        self.shortcut = ConvBN(in_channels, channels, 1, bias=False, norm=norm)
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if pool else nn.Identity()

    def forward(self, x: Tensor, film: Film | None = None) -> Tensor:
        """[n, C_in, H, W] to [n, C, H / 2, W / 2], rounded up."""
        out = x
        for number, convolution in enumerate(self.body):
            out = modulate(convolution(F.silu(out) if number else out), film[number] if film else None)
        return self.pool(F.silu(out + self.shortcut(x)))
