"""ResNet-10 of ImageNet low-shot (Hariharan and Girshick, ICCV 2017): half of a ResNet-18."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import BACKBONES
from .blocks import Backbone, ConvBN, Norm
from .resnet18 import WIDTHS, BasicBlock


@BACKBONES.register("ResNet10")
class ResNet10(Backbone):
    """A 7x7 convolution and 3x3 max-pool, each of stride 2, then four basic blocks; the last three halve the map.

    224 px give maps of 512x7x7, 4,905,792 parameters; `native` vectors are averaged.

    Args:
        last_relu: whether the last block ends with a ReLU. Gidaris and Komodakis (CVPR 2018) leave it out for their
            cosine classifier, Hariharan and Girshick have it.
        norm: see `ConvBN`.
    """

    def __init__(self, image_size: int, vector: str, *, last_relu: bool = True, norm: Norm = "running") -> None:
        super().__init__(vector)
        self.channels, self.map_size = WIDTHS[-1], -(-image_size // 32)
        stem = ConvBN(3, WIDTHS[0], 7, bias=False, norm=norm, stride=2)
        inputs = (WIDTHS[0], *WIDTHS[:-1])
        blocks = [
            BasicBlock(inputs[stage], width, 2 if stage else 1, nn.Identity(), norm)
            for stage, width in enumerate(WIDTHS)
        ]
        if not last_relu:
            blocks[-1].tail = nn.Sequential()
        self.layers = nn.Sequential(stem, nn.MaxPool2d(3, stride=2, padding=1), nn.ReLU(inplace=True), *blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, 512, h, w], h and w being H and W over 32, rounded up."""
        return self.layers(images)
