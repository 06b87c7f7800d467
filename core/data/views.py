"""Crops of an image, which a method may compare beside the image: grids, random samples, augmented copies.

A view maps pixels [n, H, W, 3] in 0..1 and one seed per image [n] to crops [n, V, H, W, 3]; the crops of an image
are a function of its pixels and its seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import UserError
from ..names import nearest
from ..ops import random
from .augment import Crop, Flip, Jitter, padding

WHOLE = "whole"
LARGEST_TRAIN_RATIO = 3.0


class View(Protocol):
    """One entry of DATASET.VIEWS."""

    count: int  # V, crops of an image

    def __call__(self, pixels: Tensor, seed: Tensor, train: bool) -> Tensor:
        """Pixels [n, H, W, 3] and seeds [n] to crops [n, V, H, W, 3]."""


@dataclass(frozen=True)
class Grid:
    """`side` x `side` overlapping cells, row by row, as in DeepEMD-Grid and M2L.

    A cell of S // side pixels grows by `ratio` about its centre and is clipped at the border, so border crops are
    smaller. In training the ratio is uniform on 1..3, drawn once for an image, and every crop is mirrored with
    probability one half.
    """

    side: int
    ratio: float

    @property
    def count(self) -> int:
        """Crops of an image."""
        return self.side**2

    def __call__(self, pixels: Tensor, seed: Tensor, train: bool) -> Tensor:
        n, size = len(pixels), pixels.shape[1]
        tag = f"grid-{self.side}"
        ratio = torch.full((n,), self.ratio, dtype=torch.float64, device=pixels.device)
        if train:
            ratio = 1 + (LARGEST_TRAIN_RATIO - 1) * random.uniform(seed, tag).double()
        low, high = self.intervals(size, ratio)
        boxes = torch.stack(
            [
                low.repeat_interleave(self.side, 1),
                high.repeat_interleave(self.side, 1),
                low.repeat(1, self.side),
                high.repeat(1, self.side),
            ],
            dim=2,
        )
        crops = resample(pixels, boxes)
        return _mirrored(crops, seed, f"{tag} flip") if train else crops

    def intervals(self, size: int, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """First and last pixel (exclusive) of the cells along an axis, each [n, side], for ratios [n]."""
        cell = size // self.side
        centre = cell // 2 + cell * torch.arange(self.side, device=ratio.device)
        half = (size / self.side * ratio).long()[:, None] // 2
        return (centre - half).clamp(min=0), (centre + half).clamp(max=size)


@dataclass(frozen=True)
class Sample:
    """`count` random crops of 8..100 % of the area with aspect ratio 3/4..4/3, mirrored or not.

    DeepEMD-Sampling draws them in training and at test. Differs from torchvision's RandomResizedCrop: boxes are not
    rounded to pixels, and one too long for the image is clipped.
    """

    count: int

    def __call__(self, pixels: Tensor, seed: Tensor, train: bool) -> Tensor:
        u = random.uniform(seed, "sample", (self.count, 4)).double()
        root = torch.exp((u[..., 1] * 2 - 1) * math.log(4 / 3) / 2)
        extent = ((0.08 + 0.92 * u[..., :1]).sqrt() * torch.stack([1 / root, root], -1)).clamp(max=1)
        low = u[..., 2:] * (1 - extent)
        boxes = torch.stack([low, low + extent], -1).flatten(-2) * pixels.shape[1]
        return _mirrored(resample(pixels, boxes), seed, "sample flip")


@dataclass(frozen=True)
class Augmented:
    """`count` copies under RFS's augmentation: pad and crop, jitter, mirror. Padding is 4 pixels at 32, 8 at 84."""

    count: int

    def __call__(self, pixels: Tensor, seed: Tensor, train: bool) -> Tensor:
        copies = pixels.repeat_interleave(self.count, 0)
        seeds = random.hashes(seed, "augmented", self.count).flatten()
        for transform in (Crop(padding(pixels.shape[1])), Jitter(0.4), Flip()):
            copies = transform(copies, seeds)
        return copies.unflatten(0, (-1, self.count))


@dataclass(frozen=True)
class Views:
    """All crops of DATASET.VIEWS, in its order."""

    views: Sequence[View]

    @property
    def count(self) -> int:
        """V, crops of an image."""
        return sum(view.count for view in self.views)

    def __call__(self, pixels: Tensor, seed: Tensor, train: bool) -> Tensor:
        """Pixels [n, H, W, 3] and seeds [n] to crops [n, V, H, W, 3]."""
        return torch.cat([view(pixels, seed, train) for view in self.views], dim=1)


def resample(pixels: Tensor, boxes: Tensor) -> Tensor:
    """Boxes of images, each resized to the image's size: bilinear, with nothing from outside the box.

    Args:
        pixels: [n, H, W, 3].
        boxes: [n, V, 4], top, bottom, left, right in pixels; they may lie between pixels.

    Returns:
        [n, V, H, W, 3].
    """
    rows = _weights(boxes[..., 0], boxes[..., 1], pixels.shape[1]).to(pixels.dtype)
    columns = _weights(boxes[..., 2], boxes[..., 3], pixels.shape[2]).to(pixels.dtype)
    n, height, width, channels = pixels.shape
    tall = (rows.flatten(1, 2) @ pixels.reshape(n, height, -1)).view(n, -1, height, width, channels)
    return torch.einsum("nvtw,nvhwc->nvhtc", columns, tall)


def _weights(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Bilinear weights [n, V, size, size] that stretch low..high of an axis over all of it."""
    extent = (high - low).double()[..., None]
    steps = torch.arange(size, dtype=torch.float64, device=low.device)
    at = low[..., None] + ((steps + 0.5) * extent / size - 0.5).clamp(min=0).minimum((extent - 1).clamp(min=0))
    return (1 - (at[..., None] - steps).abs()).clamp(min=0)


def _mirrored(crops: Tensor, seed: Tensor, tag: str) -> Tensor:
    """Every crop [n, V, H, W, 3] mirrored left to right with probability one half."""
    chosen = random.uniform(seed, tag, (crops.shape[1],)) < 0.5
    return torch.where(chosen[..., None, None, None], crops.flip(3), crops)


KINDS = {"grid": 2, "sample": 1, "aug": 1}  # name and least number
RANDOM: dict[str, type[Sample] | type[Augmented]] = {"sample": Sample, "aug": Augmented}


def parse_views(names: Sequence[str], ratio: float) -> Views | None:
    """The crops of DATASET.VIEWS such as [whole, grid-3, grid-2]; None where it names the whole image alone."""
    views = [_parse_view(name, ratio) for name in names if name != WHOLE]
    return Views(views) if views else None


def _parse_view(text: str, ratio: float) -> View:
    name, _, number = text.partition("-")
    if name not in KINDS:
        known = ", ".join([WHOLE, *(f"{kind}-NUMBER" for kind in KINDS)])
        raise UserError(f"DATASET.VIEWS names {text!r}, which is not one of: {known}{nearest(name, [WHOLE, *KINDS])}.")
    if not number.isdecimal() or int(number) < KINDS[name]:
        raise UserError(f"DATASET.VIEWS names {text!r}; write {name}-NUMBER with {KINDS[name]} or more.")
    return Grid(int(number), ratio) if name == "grid" else RANDOM[name](int(number))
