"""Where the evaluator's features come from: encoded once, or live where a method wants pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..data.loaders import Pixels
from ..data.store import Split
from ..data.views import Views
from ..episode import Features
from ..methods.base import Method
from ..ops import random
from ..report.progress import Progress
from .cache import Shelf, Stored
from .device import images_at_once

Base = Callable[[], tuple[Split, Pixels]]
MARKED_AT_ONCE = 4096  # images between two notes in a cache of what it holds


class Source(Protocol):
    """Features of any images of a split."""

    method: Method  # the one that encodes, in eval mode
    precision: str  # of the encoding
    bytes_per_image: int

    def prepare(self, ids: Tensor) -> None:
        """Have the features of images `ids` [n] ready."""

    def gather(self, ids: Tensor) -> Features:
        """Features of images `ids` [T, n], each [T, n, ...]."""

    def base_means(self) -> Features:
        """Mean feature of each base class under the method's present weights."""


@dataclass(frozen=True)
class Encoder:
    """A method with the images it encodes, and how.

    `batch` images pass the backbone together (0: chosen for the device), under bfloat16 autocast if `bf16`. An image
    counts as often as it has `views`; random ones follow its number in the split.
    """

    method: Method
    pixels: Pixels
    image_size: int
    batch: int = 0
    bf16: bool = False
    show: bool = False
    views: Views | None = None

    @property
    def block(self) -> int:
        """Images that pass the backbone together."""
        views = 1 + (self.views.count if self.views else 0)
        return max(2, self.batch or images_at_once(self.image_size, self.pixels.device) // views)

    def look(self, ids: Tensor) -> Features:
        """The pixels of images `ids` [n]: `image`, and `crops` where there are views."""
        found = {"image": self.pixels.gather(ids)}
        if self.views:
            seeds = random.mix(ids.to(self.pixels.device) ^ random.key("views"))
            found["crops"] = self.pixels.crops(ids, seeds, self.views, train=False)
        return found

    def blocks(self, ids: Tensor) -> Iterator[tuple[Tensor, Features]]:
        """Encode images `ids`, a block at a time; yields each block's ids and features.

        Every block is padded to one size, and to 2 at least: convolution libraries choose their path by the number
        of images, so an unpadded last block would be rounded differently.
        """
        device = self.pixels.device.type
        with Progress(len(ids), "images", self.show) as bar:
            for block in ids.split(self.block):
                padded = torch.cat([block, block[-1:].expand(self.block - len(block))])
                with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
                    features = self.method.encode(self.look(padded))
                yield block, {name: value[: len(block)].float() for name, value in features.items()}
                bar.update(len(block))

    def class_means(self, labels: Tensor) -> Features:
        """Mean feature of each class, [classes, ...]; `labels` [M] are those of all the images."""
        counts = labels.bincount()
        sums: Features = {}
        for ids, features in self.blocks(torch.arange(len(labels))):
            for name, value in features.items():
                if name not in sums:
                    sums[name] = value.new_zeros(len(counts), *value.shape[1:], dtype=torch.float64)
                sums[name].index_add_(0, labels[ids].to(value.device), value.double())
        return {
            name: (total / counts.to(total.device).view(-1, *[1] * (total.dim() - 1))).float()
            for name, total in sums.items()
        }


class CachedFeatures:
    """Images of a split, each encoded when it is first asked for, in a table of features.

    With a `shelf` the table lies on disk, and holds what earlier evaluations encoded.
    """

    def __init__(self, encoder: Encoder, base: Base | None = None, shelf: Shelf | None = None) -> None:
        self.method = encoder.method
        self.precision = "bfloat16" if encoder.bf16 else "float32"
        self._encoder, self._base, self._shelf = encoder, base, shelf
        self._device = encoder.pixels.device
        self._means: Features | None = None
        self._present = torch.zeros(len(encoder.pixels), dtype=torch.bool)
        self.table: Features = {}
        self._stored: Stored | None = shelf.open(len(encoder.pixels)) if shelf else None
        if self._stored:
            self._adopt(self._stored)

    def prepare(self, ids: Tensor) -> None:
        """Encode those of `ids` that are not in the table."""
        absent = ids[~self._present[ids]]
        size = self._encoder.block
        for missing in absent.split(size * max(1, MARKED_AT_ONCE // size)) if len(absent) else ():
            for block, features in self._encoder.blocks(missing):
                if not self.table:
                    self._create(features)
                for name, value in features.items():
                    self.table[name][block.to(self._device)] = value
                    if self._stored and self._device.type != "cpu":
                        self._stored.arrays[name][block.numpy()] = value.cpu().numpy()
            self._present[missing] = True
            if self._stored:
                self._stored.mark(missing.numpy())

    def gather(self, ids: Tensor) -> Features:
        """Rows of the table."""
        return {
            name: table.index_select(0, ids.flatten().to(table.device)).unflatten(0, ids.shape)
            for name, table in self.table.items()
        }

    def held(self) -> tuple[Tensor, Features]:
        """Sorted ids of the images in the table, and their features."""
        ids = self._present.nonzero()[:, 0]
        return ids, {name: value.index_select(0, ids.to(value.device)) for name, value in self.table.items()}

    @property
    def bytes_per_image(self) -> int:
        """Of all features together."""
        return sum(table[0].nbytes for table in self.table.values())

    def base_means(self) -> Features:
        """Class means of the train split, computed once."""
        if self._means is None:
            self._means = _base_means(self._encoder, self._base)
        return self._means

    def _create(self, features: Features) -> None:
        """Make the table for features like these: on disk where there is room for it."""
        rows = len(self._present)
        if self._shelf:
            shapes = {name: tuple(value.shape[1:]) for name, value in features.items()}
            self._stored = self._shelf.create(rows, shapes)
        if self._stored:
            self._adopt(self._stored)
        else:
            self.table = {name: value.new_empty(rows, *value.shape[1:]) for name, value in features.items()}

    def _adopt(self, stored: Stored) -> None:
        """Use the arrays on disk as the table; a GPU gets a copy of them."""
        self.table = {name: torch.from_numpy(array).to(self._device) for name, array in stored.arrays.items()}
        self._present = torch.from_numpy(stored.present.astype(bool))


class LiveFeatures:
    """Encodes what is asked for, each time: for methods that adapt the network, and to test the cache."""

    precision = "float32"

    def __init__(self, encoder: Encoder, base: Base | None = None) -> None:
        self.method, self._encoder, self._base = encoder.method, encoder, base
        self.bytes_per_image = encoder.pixels.gather(torch.zeros(1, dtype=torch.long)).nbytes

    def prepare(self, ids: Tensor) -> None:
        """Nothing can be encoded ahead."""

    def gather(self, ids: Tensor) -> Features:
        """Encoded pixels."""
        seen = self._encoder.look(ids.flatten())
        return self.method.encode({name: value.unflatten(0, ids.shape) for name, value in seen.items()})

    def base_means(self) -> Features:
        """Class means of the train split."""
        return _base_means(self._encoder, self._base)


def source_for(encoder: Encoder, base: Base | None = None, shelf: Shelf | None = None) -> Source:
    """Pixels cannot be encoded ahead; everything else can."""
    if "image" in encoder.method.needs:
        return LiveFeatures(encoder, base)
    return CachedFeatures(encoder, base, shelf)


@torch.no_grad()
def _base_means(encoder: Encoder, base: Base | None) -> Features:
    split, pixels = base()
    return replace(encoder, pixels=pixels).class_means(torch.from_numpy(split.labels))
