"""Augmentation of batches, in which every image has random parameters of its own.

Each transform maps pixels [n, H, W, 3] in 0..1 and one seed per image [n] to pixels of the same shape; how an image
changes is a function of its seed alone. torchvision's transforms would give the whole batch one crop. A transform that
only moves pixels (`moves`) takes bytes as well, a quarter of the memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..names import nearest
from ..ops import random
from ..ops.crop import padded_crop


class Transform(Protocol):
    """A change of images [n, H, W, 3] under their seeds [n], which only one that draws nothing can do without."""

    moves: ClassVar[bool]

    def __call__(self, pixels: Tensor, seed: Any) -> Tensor: ...


@dataclass(frozen=True)
class Crop:
    """Zero-pad by `padding` pixels and crop back to the old size at a random place."""

    moves: ClassVar[bool] = True
    padding: int

    def __call__(self, pixels: Tensor, seed: Tensor) -> Tensor:
        """Pixels [n, H, W, 3], seeds [n]."""
        corner = (random.uniform(seed, "crop", (2,)) * (2 * self.padding + 1)).long()
        return padded_crop(pixels, corner, self.padding, self.padding)


@dataclass(frozen=True)
class Flip:
    """Mirror left to right with probability one half."""

    moves: ClassVar[bool] = True

    def __call__(self, pixels: Tensor, seed: Tensor) -> Tensor:
        """Pixels [n, H, W, 3], seeds [n]."""
        mirrored = random.uniform(seed, "flip") < 0.5
        both = torch.cat([pixels, pixels.flip(2)])  # whole images are copied faster than chosen value by value
        return both[torch.arange(len(pixels), device=pixels.device) + len(pixels) * mirrored]


@dataclass(frozen=True)
class ResizedCrop:
    """Crop an area of `smallest`..1 of the image with aspect ratio 3/4..4/3 and resize it back, bilinearly.

    The crop is never larger than the image, so it is only ever enlarged and needs no antialiasing. Where the drawn
    box is too long for the image it is clipped; torchvision draws ten times and then takes the centre.
    """

    moves: ClassVar[bool] = False
    smallest: float

    def __call__(self, pixels: Tensor, seed: Tensor) -> Tensor:
        """Pixels [n, H, W, 3], seeds [n]."""
        u = random.uniform(seed, "resized", (4,))
        area = self.smallest + (1 - self.smallest) * u[:, 0]
        root = torch.exp((u[:, 1] * 2 - 1) * math.log(4 / 3) / 2)
        extent = (area.sqrt()[:, None] * torch.stack([root, 1 / root], 1)).clamp(max=1)
        centre = (u[:, 2:] * 2 - 1) * (1 - extent)
        affine = torch.cat([torch.diag_embed(extent), centre[..., None]], dim=2)
        images = pixels.permute(0, 3, 1, 2)
        grid = F.affine_grid(affine, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Centre:
    """Resize by 1 / `share`, bilinearly, and cut the centre of the old size out: Resize(92), CenterCrop(84)."""

    moves: ClassVar[bool] = False
    share: float

    def __call__(self, pixels: Tensor, seed: Tensor | None = None) -> Tensor:
        """Pixels [n, H, H, 3]."""
        size = pixels.shape[1]
        larger = round(size / self.share)
        start = round((larger - size) / 2)
        images = F.interpolate(pixels.permute(0, 3, 1, 2), (larger, larger), mode="bilinear")
        return images[:, :, start : start + size, start : start + size].permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Jitter:
    """Brightness, contrast and saturation, each scaled by 1 - strength .. 1 + strength, in this order."""

    moves: ClassVar[bool] = False
    strength: float

    def __call__(self, pixels: Tensor, seed: Tensor) -> Tensor:
        """Pixels [n, H, W, 3], seeds [n]."""
        u = random.uniform(seed, "jitter", (3,)) * 2 - 1
        brightness, contrast, saturation = (1 + self.strength * u)[..., None, None, None].unbind(1)
        planes = pixels.permute(0, 3, 1, 2).contiguous()  # colour by colour: long stretches of the same arithmetic
        planes = (planes * brightness).clamp_(0, 1)
        planes = torch.lerp(_grey(planes).mean((2, 3), keepdim=True), planes, contrast).clamp_(0, 1)
        return torch.lerp(_grey(planes), planes, saturation).clamp_(0, 1).permute(0, 2, 3, 1).contiguous()


def _grey(planes: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of [n, 3, H, W], as [n, 1, H, W]."""
    red, green, blue = planes.split(1, dim=1)
    return red * 0.299 + green * 0.587 + blue * 0.114


def _pixels(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError(text)
    return number


TRANSFORMS = {
    "crop": (Crop, _pixels),
    "flip": (Flip, None),
    "resized": (ResizedCrop, _share),
    "jitter": (Jitter, _share),
}


def padding(side: int) -> int:
    """Pixels by which `crop` pads images of this side: a tenth of it, at least 4 (4 at 32 pixels, 8 at 84)."""
    return max(4, side // 10)


def at_size(names: Sequence[str], side: int) -> list[str]:
    """The same augmentation with a number behind every `crop`: [crop, flip] is [crop-4, flip] at 32 pixels."""
    return [f"{name}-{padding(side)}" if name == "crop" else name for name in names]


def parse_transforms(names: list[str], key: str) -> list[Transform]:
    """Transforms from a YAML list such as [crop-4, flip, jitter-0.4, resized-0.2], applied in that order."""
    return [_parse_transform(name, key) for name in names]


def _parse_transform(text: str, key: str) -> Transform:
    name, _, amount = text.partition("-")
    if name not in TRANSFORMS:
        known = ", ".join(n if t is None else f"{n}-NUMBER" for n, (_, t) in TRANSFORMS.items())
        raise UserError(f"{key} names {text!r}, which is not one of: {known}{nearest(name, TRANSFORMS)}.")
    transform, number = TRANSFORMS[name]
    try:
        return transform() if number is None and not amount else transform(number(amount))
    except (TypeError, ValueError) as error:
        form = {None: name, _pixels: f"{name}-NUMBER, e.g. {name}-4", _share: f"{name}-NUMBER (0..1), e.g. {name}-0.4"}
        raise UserError(f"{key} names {text!r}, which is not of the form {form[number]}.") from error
