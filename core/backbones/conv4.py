"""Conv4: the four-block network of Vinyals et al. (NeurIPS 2016) and Snell et al. (NeurIPS 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from core.backbones.blocks import Backbone, ConvBN, Film, modulate, size_after_pools
from core.errors import UserError
from core.registry import BACKBONES


@BACKBONES.register("Conv4")
class Conv4(Backbone):
    """Four times [3x3 convolution with bias, batch-norm, 2x2 max-pool, ReLU].

    113,088 parameters at 64 channels. 84 px give maps of 5x5, 32 px of 2x2; `native` vectors are flattened.
    `pools`: only the first so many blocks halve the image; methods on local descriptors want maps larger than 2x2.

    Differs from the authors' code: pooling comes before the ReLU. The two commute, and the ReLU then sees a quarter
    of the values.
    """

    native_vector = "flatten"

    def __init__(self, image_size: int, vector: str, *, width: int = 64, pools: int = 4, norm: str = "running") -> None:
        super().__init__(vector)
        if not 0 <= pools <= 4:
            raise UserError(f"BACKBONE.ARGS.pools is {pools}, but Conv4 has four blocks; choose 0 to 4.")
        self.channels, self.map_size = width, size_after_pools(image_size, pools, "Conv4")
        layers: list[nn.Module] = []
        for block, in_channels in enumerate((3, width, width, width)):
            halved = [nn.MaxPool2d(2)] if block < pools else []
            layers += [ConvBN(in_channels, width, 3, bias=True, norm=norm), *halved, nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.film_widths = (width,) * 4

    def maps(self, images: Tensor, film: Film | None = None) -> Tensor:
        """[n, 3, H, W] to [n, width, H / 2^pools, W / 2^pools]."""
        if film is None:
            return self.layers(images)
        changes = iter(film)
        for layer in self.layers:
            images = layer(images)
            if isinstance(layer, ConvBN):
                images = modulate(images, next(changes))
        return images
