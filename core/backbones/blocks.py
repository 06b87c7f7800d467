"""The parts that backbones share: their base class, convolutions with batch-norm, conditioning and folding."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import UserError

# Gain and offset [n, C] for each conditioned convolution, in the order of `film_widths` (Perez et al., AAAI 2018).
Film = Sequence[tuple[Tensor, Tensor]]

Norm = Literal["running", "batch"]
Pools = Literal[0, 1, 2, 3, 4]  # of a network with four blocks

NORMS = {
    "running": lambda channels: nn.BatchNorm2d(channels),
    "batch": lambda channels: nn.BatchNorm2d(channels, track_running_stats=False),
}

VECTORS = {
    "flatten": lambda maps: maps.flatten(1),
    "mean": lambda maps: maps.mean((2, 3)),
    "max": lambda maps: maps.amax((2, 3)),
}


@dataclass(frozen=True)
class Preprocessing:
    """What the weights of an encoder ask of an image."""

    size: int  # side in pixels
    mean: tuple[float, ...]  # of red, green and blue in 0..1
    std: tuple[float, ...]
    interpolation: Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class ExternalData:
    """Weights that were learned from data beside the base classes: every result of theirs names them."""

    encoder: str  # torchvision:mobilenet_v2
    weights: str  # the library's name of them, or the file's
    data: str  # that they were trained on
    licence: str
    sha256: str  # of the file; of downloaded weights, of their tensors

    def as_dict(self) -> dict[str, str]:
        """For a checkpoint or a result."""
        return asdict(self)


class ConvBN(nn.Sequential):
    """A convolution and its batch-norm, the pair that `fold` merges; `padding` None keeps the size.

    `norm` is "running" (at evaluation, running statistics of the training) or "batch" (always statistics of the batch:
    methods that adapt the whole network need them, and become transductive by them).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        *,
        bias: bool,
        norm: Norm,
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        padding = kernel // 2 if padding is None else padding
        conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=bias)
        super().__init__(conv, NORMS[norm](channels))


class Backbone(nn.Module):
    """Images [n, 3, H, W] to {map: [n, C, h, w], vector: [n, D]}.

    A subclass sets `channels` (C) and `map_size` (h = w), and implements `maps`. Its first argument is the side of the
    images, its second BACKBONE.VECTOR. If its convolutions can be conditioned, `film_widths` lists their widths, and
    `maps` takes a `Film` as well.
    """

    film_widths: tuple[int, ...] = ()

    channels: int
    map_size: int
    native_vector = "mean"  # what BACKBONE.VECTOR native stands for
    input_dims = 3  # axes of an input: 3 for an image, 1 for stored features
    external: ExternalData | None = None  # where the weights it started from come from, if they were learned elsewhere
    preprocessing: ClassVar[Preprocessing | None] = None  # None: mean and deviation of the data set, and its size
    size = 0  # side in pixels to which it resamples images; 0 = it takes them as they are

    def __init__(self, vector: str) -> None:
        super().__init__()
        self.vector = self.native_vector if vector == "native" else vector

    @property
    def vector_dim(self) -> int:
        """D, the length of `vector`."""
        return self.channels * (self.map_size**2 if self.vector == "flatten" else 1)

    def maps(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, C, h, w]."""
        raise NotImplementedError

    def forward(self, images: Tensor, film: Film | None = None) -> dict[str, Tensor]:
        """The map of each image and its vector, which BACKBONE.VECTOR makes from the map."""
        images = images.contiguous(memory_format=torch.channels_last)
        maps = self.maps(images) if film is None else self.maps(images, film)
        return {"map": maps, "vector": VECTORS[self.vector](maps)}


def modulate(x: Tensor, gain_and_offset: tuple[Tensor, Tensor] | None) -> Tensor:
    """gain * x + offset for each image and channel of x [n, C, h, w]; None leaves x as it is."""
    if gain_and_offset is None:
        return x
    gain, offset = gain_and_offset
    return torch.addcmul(offset[..., None, None], gain[..., None, None], x)


Network = TypeVar("Network", bound=nn.Module)


def fold(module: Network) -> Network:
    """A copy for evaluation, with the running statistics of every ConvBN folded into its convolution."""
    folded = copy.deepcopy(module).eval()
    for block in folded.modules():
        if not isinstance(block, ConvBN):
            continue
        convolution, norm = block
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            block[0], block[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return folded


def size_after_pools(image_size: int, pools: int, backbone: str) -> int:
    """The side of the map, h = w, after the image has been halved `pools` times, rounded down.

    Raises:
        UserError: where no pixel is left.
    """
    size = image_size >> pools
    if size < 1:
        raise UserError(
            f"DATASET.SIZE is {image_size}, but BACKBONE.NAME {backbone} halves the image {pools} times and needs "
            f"{1 << pools} pixels or more."
        )
    return size
