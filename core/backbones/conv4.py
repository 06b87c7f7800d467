"""Conv4: the four-block network of Vinyals et al. (NeurIPS 2016) and Snell et al. (NeurIPS 2017)."""

from __future__ import annotations

from torch import Tensor, nn

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
        width: int = 64,
        widen: int = 1,
        pools: Pools = 4,
        last_relu: bool = True,
        norm: Norm = "running",
    ) -> None:
        super().__init__(vector)
        widths = (width, width, width * widen, width * widen)
        self.channels, self.map_size = widths[-1], size_after_pools(image_size, pools, "Conv4")
        layers: list[nn.Module] = []
        for block, in_channels in enumerate((3, *widths[:-1])):
            halved = [nn.MaxPool2d(2)] if block < pools else []
            layers += [ConvBN(in_channels, widths[block], 3, bias=True, norm=norm), *halved, nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*(layers if last_relu else layers[:-1]))
        self.film_widths = widths

    def maps(self, images: Tensor, film: Film | None = None) -> Tensor:
        """[n, 3, H, W] to [n, C, H / 2^pools, W / 2^pools]."""
        if film is None:
            return self.layers(images)
        changes = iter(film)
        for layer in self.layers:
            images = layer(images)
            if isinstance(layer, ConvBN):
                images = modulate(images, next(changes))
        return images
