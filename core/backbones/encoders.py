"""Encoders: networks of other libraries, with what their weights ask of an image.

`torchvision_models.py` and `timm_models.py` each enter a family of names such as torchvision:mobilenet_v2.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..limits import ZeroOrMore
from .blocks import VECTORS, Backbone, Film, Preprocessing

TOKEN_VECTORS = ("cls", "both")


@dataclass(frozen=True)
class Seen:
    """What a network makes of n images, before BACKBONE.VECTOR chooses."""

    map: Tensor  # [n, C, h, w]: the last map of a CNN, the patch tokens of a transformer
    native: Tensor  # [n, D]: what the library's own classifier would read
    cls: Tensor | None = None  # [n, C], the class token where there is one


@dataclass(frozen=True)
class Published:
    """One set of weights of a library."""

    name: str  # in the library: MobileNet_V2_Weights.IMAGENET1K_V1
    url: str
    data: str  # that it was trained on
    licence: str


class Encoder(Backbone):
    """A network of another library; images are resampled to the size that its weights ask for.

    A subclass makes the network in `__init__`, calls `measure`, and implements `see`. `network` is the library's module
    without its classifier; its state has the library's names.

    Args:
        image_size: DATASET.SIZE, 0 where it is not set.
        vector: BACKBONE.VECTOR. `native` is what the library's own classifier reads; `mean`, `max` and `flatten` are of
            the map; `cls` is the class token, `both` the class token and the mean of the patches, one after the other.
        size: side in pixels to which images are resampled; 0 = `image_size` if it is set, else the weights' own.

    Differs from the libraries' transforms: the whole image is seen, not the centre of a larger one; DATASET.EVAL_CROP
    0.875 gives the centre.
    """

    library: ClassVar[str]
    model: ClassVar[str]
    preprocessing: ClassVar[Preprocessing]
    native_vector = "native"
    network: nn.Module

    def __init__(self, image_size: int, vector: str, *, size: ZeroOrMore = 0) -> None:
        super().__init__(vector)
        self.size = size or image_size or self.preprocessing.size
        self.native_dim = 0

    @classmethod
    @abstractmethod
    def member(cls, model: str) -> type[Encoder]:
        """The encoder of a model of the library.

        Raises:
            UserError: where the library has no model of this name.
        """

    @abstractmethod
    def see(self, images: Tensor) -> Seen:
        """Images [n, 3, size, size] as the network sees them."""

    @abstractmethod
    def publications(self) -> Iterable[Published]:
        """The sets of weights that the library offers for this model, its default first."""

    @classmethod
    def owner(cls, digest: str) -> str:
        """The name of the library's encoder whose published weights have this SHA-256; "" where none is known."""
        return ""

    @abstractmethod
    def download(self) -> dict[str, Tensor]:
        """The library's default weights, under the names of its whole model."""

    @abstractmethod
    def fitted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A state of the library's whole model under its present names, fitted to this size, without its classifier."""

    def measure(self, channels: int = 0, map_size: int = 0, native_dim: int = 0) -> None:
        """Note the shapes of map and native vector, or see them on an empty image; refuse a vector that cannot be."""
        if not channels:
            seen = self._see_nothing()
            channels, map_size, native_dim = seen.map.shape[1], seen.map.shape[2], seen.native.shape[1]
        self.channels, self.map_size, self.native_dim = channels, map_size, native_dim

    def refuse_tokens(self) -> None:
        """Refuse a vector of the class token where there is none."""
        if self.vector in TOKEN_VECTORS:
            raise UserError(
                f"BACKBONE.VECTOR is {self.vector}, but BACKBONE.NAME {self.library}:{self.model} has no class token; "
                "set it to native or mean."
            )

    @property
    def vector_dim(self) -> int:
        """D, the length of `vector`."""
        if self.vector == "native":
            return self.native_dim
        return self.channels * {"flatten": self.map_size**2, "both": 2}.get(self.vector, 1)

    def maps(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, C, h, w]."""
        return self.see(self._resampled(images)).map

    def forward(self, images: Tensor, film: Film | None = None) -> dict[str, Tensor]:
        """The map of each image, and its vector."""
        seen = self.see(self._resampled(images))
        return {"map": seen.map, "vector": self._vector(seen)}

    def _vector(self, seen: Seen) -> Tensor:
        if self.vector == "native":
            return seen.native
        if seen.cls is not None and self.vector in TOKEN_VECTORS:
            mean = [VECTORS["mean"](seen.map)] if self.vector == "both" else []
            return torch.cat([seen.cls, *mean], dim=1)
        return VECTORS[self.vector](seen.map)

    def _resampled(self, images: Tensor) -> Tensor:
        """Images at the network's size."""
        return resample(images, self.size, self.preprocessing.interpolation).contiguous(
            memory_format=torch.channels_last
        )

    @torch.no_grad()
    def _see_nothing(self) -> Seen:
        """What the network makes of an empty image; its statistics stay as they are."""
        training = self.training
        seen = self.eval().see(torch.zeros(1, 3, self.size, self.size))
        self.train(training)
        return seen


def resample(images: Tensor, size: int, interpolation: Literal["bilinear", "bicubic"]) -> Tensor:
    """Images [n, 3, H, W] at another side, smoothed where it is smaller, as torchvision's Resize does it."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode=interpolation, align_corners=False, antialias=True)


def patch_map(tokens: Tensor, model: str) -> Tensor:
    """Patch tokens [n, L, C], row by row, as a map [n, C, h, w].

    Raises:
        UserError: where they are no square.
    """
    side = round(tokens.shape[1] ** 0.5)
    if side**2 != tokens.shape[1]:
        raise UserError(
            f"BACKBONE.NAME {model} makes {tokens.shape[1]} tokens of an image, which are no square map; choose "
            "another model."
        )
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def refuse_partial_patches(size: int, patch: int, model: str) -> None:
    """Refuse a size that is no multiple of the side of a patch."""
    if size % patch:
        raise UserError(
            f"BACKBONE.NAME {model} cuts images into patches of {patch} pixels, and {size} is no multiple of it; set "
            f"BACKBONE.ARGS.size to {max(1, round(size / patch)) * patch}."
        )
