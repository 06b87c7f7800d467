"""The network of R2D2: Bertinetto et al., ICLR 2019, https://arxiv.org/abs/1805.08136."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..limits import Count, ShareBelowOne
from ..registry import BACKBONES
from .blocks import Backbone, ConvBN, Norm


@BACKBONES.register("WideConv4")
class WideConv4(Backbone):
    """Four blocks [3x3 convolution with bias, batch-norm, max-pool, LeakyReLU(0.1)] of 96, 192, 384 and 512 channels.

    The last pool has stride 1, and the last block no activation. The map joins the last block's channels to those of
    the block before, under a pool of stride 1 too: 896 channels, 9x9 at 84 px (72,576 numbers) and 3x3 at 32 px
    (8,064). 2,605,056 parameters; `native` vectors are flattened.

    Args:
        width: channels of the first block; the others have 2, 4 and 16/3 times as many.
        drop_rate: dropout behind the last two blocks; 0.1 for miniImageNet, 0.4 for CIFAR-FS.
        norm: see `ConvBN`.
    """

    native_vector = "flatten"

    def __init__(
        self, image_size: int, vector: str, *, width: Count = 96, drop_rate: ShareBelowOne = 0.0, norm: Norm = "running"
    ) -> None:
        super().__init__(vector)
        if image_size < 16:
            raise UserError(f"DATASET.SIZE is {image_size}, but BACKBONE.NAME WideConv4 needs 16 pixels or more.")
        widths = (width, 2 * width, 4 * width, 16 * width // 3)
        self.channels, self.map_size = widths[2] + widths[3], image_size // 8 - 1
        pairs = zip((3, *widths[:-1]), widths, strict=True)
        convolutions = [ConvBN(before, after, 3, bias=True, norm=norm) for before, after in pairs]
        active = [nn.Sequential(conv, nn.MaxPool2d(2), nn.LeakyReLU(0.1)) for conv in convolutions[:-1]]
        self.third = nn.Sequential(*active, nn.Dropout(drop_rate))
        self.fourth = nn.Sequential(convolutions[-1], nn.MaxPool2d(2, stride=1), nn.Dropout(drop_rate))

    def maps(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, 896, H // 8 - 1, W // 8 - 1]."""
        third = self.third(images)
        return torch.cat([F.max_pool2d(third, 2, stride=1), self.fourth(third)], dim=1)
