"""Conv4: the four-block network of Vinyals et al. (NeurIPS 2016) and Snell et al. (NeurIPS 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import UserError
from ..limits import Count
from ..registry import BACKBONES
from .blocks import Backbone, ConvBN, Film, Norm, Pools, modulate, size_after_pools


@BACKBONES.register("Conv4")
class Conv4(Backbone):
    """Four times [3x3 convolution with bias, batch-norm, 2x2 max-pool, ReLU].

    113,088 parameters at 64 channels. 84 px give maps of 5x5, 32 px of 2x2; `native` vectors are flattened.

    Args:
        width: channels of the first two blocks.
        widen: factor for the channels of the last two blocks; 2 gives the 64-64-128-128 of Gidaris and Komodakis (CVPR
            2018).
        pools: how many blocks, from the first, halve the image; methods on local descriptors need maps above 2x2.
        unpadded: how many blocks, from the first, have a convolution without padding. RelationNet has 2 of them and
            pools 2: maps of 19x19 at 84 px.
        last_relu: whether the last block has a ReLU; cosine classifiers do better with features of both signs.
        norm: see `ConvBN`.

    Differs from the authors' code: pooling comes before the ReLU. The result is the same, and the ReLU then runs on a
    quarter of the values.
    """

    native_vector = "flatten"

    def __init__(
        self,
        image_size: int,
        vector: str,
        *,
        width: Count = 64,
        widen: Count = 1,
        pools: Pools = 4,
        unpadded: Pools = 0,
        last_relu: bool = True,
        norm: Norm = "running",
    ) -> None:
        super().__init__(vector)
        widths = (width, width, width * widen, width * widen)
        size_after_pools(image_size, pools, "Conv4")
        self.channels, self.map_size = widths[-1], _map_size(image_size, pools, unpadded)
        layers: list[nn.Module] = []
        for block, in_channels in enumerate((3, *widths[:-1])):
            halved = [nn.MaxPool2d(2)] if block < pools else []
            padding = 0 if block < unpadded else 1
            conv = ConvBN(in_channels, widths[block], 3, bias=True, norm=norm, padding=padding)
            layers += [conv, *halved, nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*(layers if last_relu else layers[:-1]))
        self.film_widths = widths

    def maps(self, images: Tensor, film: Film | None = None) -> Tensor:
        """[n, 3, H, W] to [n, C, h, w]; with padded convolutions h = H / 2^pools."""
        if film is None:
            return self.layers(images)
        changes = iter(film)
        for layer in self.layers:
            images = layer(images)
            if isinstance(layer, ConvBN):
                images = modulate(images, next(changes))
        return images


def _map_size(image_size: int, pools: int, unpadded: int) -> int:
    """The side of the last map: a convolution without padding takes two pixels, a pool halves."""
    size = image_size
    for block in range(4):
        size -= 2 if block < unpadded else 0
        size //= 2 if block < pools else 1
    if size < 1:
        raise UserError(
            f"DATASET.SIZE is {image_size}, but BACKBONE.NAME Conv4 with {unpadded} convolutions without padding "
            f"leaves no pixel of it; set BACKBONE.ARGS.unpadded to 0, or take larger images."
        )
    return size
