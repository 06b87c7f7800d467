"""ResNet-12 in the form of MetaOptNet (Lee et al., CVPR 2019), which most few-shot papers since have used."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..limits import Count, ShareBelowOne, ZeroOrMore
from ..registry import BACKBONES
from .blocks import Backbone, ConvBN, Norm, Pools, size_after_pools

WIDTHS = (64, 160, 320, 640)


@BACKBONES.register("ResNet12")
class ResNet12(Backbone):
    """Four residual blocks of three 3x3 convolutions, each followed by a 2x2 max-pool: 12,424,320 parameters.

    84 px give maps of 640x5x5, 32 px of 640x2x2; `native` vectors are averaged (MetaOptNet flattens).

    Args:
        drop_rate: dropout, of elements in the first two blocks and of squares in the last two (DropBlock, Ghiasi et
            al., NeurIPS 2018).
        drop_size: side of the squares, in pixels of the map. Papers use rate 0.1 with size 5 at 84 px and 2 at 32 px.
        drop_ramp: training steps over which the DropBlock rate rises, see `DropBlock`.
        pools: how many blocks, from the first, halve the image; 3 in DeepBDC's network.
        norm: see `ConvBN`.
    """

    native_vector = "mean"

    def __init__(
        self,
        image_size: int,
        vector: str,
        *,
        drop_rate: ShareBelowOne = 0.0,
        drop_size: Count = 5,
        drop_ramp: ZeroOrMore = 40000,
        pools: Pools = 4,
        norm: Norm = "running",
    ) -> None:
        super().__init__(vector)
        self.channels, self.map_size = WIDTHS[-1], size_after_pools(image_size, pools, "ResNet12")
        drops: list[nn.Module] = [nn.Dropout(drop_rate), nn.Dropout(drop_rate)]
        drops += [DropBlock(drop_rate, drop_size, drop_ramp), DropBlock(drop_rate, drop_size, drop_ramp)]
        inputs = (3, *WIDTHS[:-1])
        self.blocks = nn.Sequential(
            *(
                Residual(inputs[block], width, drops[block], norm, pool=block < pools)
                for block, width in enumerate(WIDTHS)
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")

    def maps(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, 640, H // 2^pools, W // 2^pools]."""
        return self.blocks(images)


class Residual(nn.Module):
    """Three convolutions plus a 1x1 shortcut, LeakyReLU(0.1), 2x2 max-pool, dropout.

    Differs from the authors' code: the pooling comes before the last LeakyReLU, with the same result.
    """

    def __init__(self, in_channels: int, channels: int, drop: nn.Module, norm: Norm, pool: bool = True) -> None:
        super().__init__()
        activation = nn.LeakyReLU(0.1, inplace=True)
        self.body = nn.Sequential(
            ConvBN(in_channels, channels, 3, bias=False, norm=norm),
            activation,
            ConvBN(channels, channels, 3, bias=False, norm=norm),
            activation,
            ConvBN(channels, channels, 3, bias=False, norm=norm),
        )
        self.shortcut = ConvBN(in_channels, channels, 1, bias=False, norm=norm)
        self.tail = nn.Sequential(nn.MaxPool2d(2) if pool else nn.Identity(), activation, drop)

    def forward(self, x: Tensor) -> Tensor:
        """[n, C_in, H, W] to [n, C, H // 2, W // 2], or [n, C, H, W] without pooling."""
        return self.tail(self.body(x) + self.shortcut(x))


class DropBlock(nn.modules.dropout._DropoutNd):
    """Set squares of `size` x `size` pixels to 0, in each channel independently, and rescale the others.

    The keep rate falls linearly from 1 to 1 - rate over `ramp` training calls, so it depends on the number of steps,
    not of images; a step of ACCUMULATE parts is as many calls. A square starts at each position of
    the interior, whose side is f - size + 1 on a map of side f, with probability gamma = rate / size^2 * f^2 /
    (f - size + 1)^2.

    Every square is whole, as in the paper. Differs from MetaOptNet's code, which leaves squares incomplete where the
    number of seeds and size^2 have a common factor, and so drops less: on a map of side 10, with size 5 and rate 0.1,
    it keeps 92.05 % of the positions, and we keep 90.65 %; on side 5, 91.52 % and 90.11 %. Here the counter is a
    buffer (kept in checkpoints) and counts training calls only; a `size` larger than the map acts as the map's side.
    """

    calls: Tensor

    def __init__(self, rate: float, size: int, ramp: int) -> None:
        super().__init__(rate)
        self.size, self.ramp = size, ramp
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """[n, C, f, f] to the same shape; the identity in eval mode."""
        if not self.training or self.p == 0:
            return x
        self.calls += 1
        side = x.shape[-1]
        size = min(self.size, side)
        interior = side - size + 1
        rate = self.p * (self.calls / self.ramp).clamp(max=1)
        gamma = rate / size**2 * side**2 / interior**2
        wide = torch.promote_types(x.dtype, torch.float32)  # bfloat16 would round the scale, near 1 to 1
        seeds = (torch.rand(*x.shape[:2], interior, interior, device=x.device) < gamma).to(wide)
        kept = 1 - F.max_pool2d(F.pad(seeds, [size - 1] * 4), size, stride=1)
        return (x * kept * (kept.numel() / kept.sum().clamp(min=1))).to(x.dtype)
