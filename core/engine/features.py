"""Where the evaluator's features come from: encoded once, or live where a method wants pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .. import progress
from ..data.augment import Centre
from ..data.pixels import Pixels
from ..data.store import Split
from ..data.views import Views
from ..episode import Features
from ..errors import UserError
from ..methods.base import Method
from ..methods.declarations import refuse_unencoded
from ..ops import random
from .cache import CachedTable, FeatureCache
from .device import images_at_once
from .finite import refuse_features

Base = Callable[[], tuple[Split, Pixels]]


@dataclass(frozen=True)
class BaseImages:
    """The images whose class means a method may read."""

    open: Base  # the train split
    limit: int = 0  # images of a class that count, its first; 0 = all
    cache: Callable[[], FeatureCache | None] = lambda: None  # where the means are kept


MARKED_AT_ONCE = 4096  # images between two notes in a cache of what it holds


class FeatureSource(Protocol):
    """Features of any images of a split."""

    method: Method  # the one that encodes, in eval mode
    precision: str  # of the encoding

    @property
    def bytes_per_image(self) -> int:
        """Of all features together."""

    def prepare(self, ids: Tensor) -> None:
        """Have the features of images `ids` [n] ready."""

    def gather(self, ids: Tensor) -> Features:
        """Features of images `ids` [T, n], each [T, n, ...]."""

    def base_means(self) -> Features:
        """Mean feature of each base class under the method's present weights."""


@dataclass(frozen=True)
class ImageEncoder:
    """A method with the images it encodes, and how.

    `batch` images pass the backbone together (0 = chosen for the device), under bfloat16 autocast if `bf16` is set.
    With `views` an image counts as often as it has crops; random crops follow the image's number in the split. Of the
    image itself its centre is seen, `eval_crop` of each side.
    """

    method: Method
    pixels: Pixels
    image_size: int
    batch: int = 0
    bf16: bool = False
    views: Views | None = None
    eval_crop: float = 1.0
    name: str = ""  # of the images, for a progress bar

    @property
    def block(self) -> int:
        """Images that pass the backbone together."""
        views = 1 + (self.views.count if self.views else 0)
        return max(2, self.batch or images_at_once(self.image_size, self.pixels.device) // views)

    def inputs(self, ids: Tensor) -> Features:
        """The pixels of images `ids` [n]: `image`, and `crops` where there are views."""
        centre = [Centre(self.eval_crop)] if self.eval_crop < 1 else []
        inputs = {"image": self.pixels.gather(ids, transforms=centre)}
        if self.views:
            inputs["crops"] = self.pixels.crops(ids, self.view_seeds(ids), self.views, train=False)
        return inputs

    def view_seeds(self, ids: Tensor) -> Tensor:
        """Seeds [n] of the crops of images `ids` [n]."""
        return random.mix(ids.to(self.pixels.device) ^ random.key("views"))

    def blocks(self, ids: Tensor) -> Iterator[tuple[Tensor, Features]]:
        """Encode images `ids`, a block at a time; yields each block's ids and features.

        Every block is padded to one size, and to 2 at least: convolution libraries choose their path by the number
        of images, so an unpadded last block would be rounded differently.
        """
        device = self.pixels.device.type
        with progress.bar(len(ids), "images", name=self.name) as bar:
            for block in ids.split(self.block):
                padded = torch.cat([block, block[-1:].expand(self.block - len(block))])
                with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
                    encoded = self.method.encode(self.inputs(padded))
                refuse_unencoded(self.method, encoded)
                features = {name: value[: len(block)].float() for name, value in encoded.items()}
                refuse_features(features, block)
                yield block, features
                bar.update(len(block))

    def class_means(self, labels: Tensor, limit: int = 0) -> Features:
        """Mean feature of each class, [classes, ...]; `labels` [M] are all images', the first `limit` of a class count.

        `limit` 0 counts all.
        """
        chosen = _first_of_each(labels, limit) if limit else torch.arange(len(labels))
        counts = labels[chosen].bincount()
        sums: Features = {}
        for ids, features in self.blocks(chosen):
            for name, value in features.items():
                if name not in sums:
                    sums[name] = value.new_zeros(len(counts), *value.shape[1:], dtype=torch.float64)
                sums[name].index_add_(0, labels[ids].to(value.device), value.double())
        return {
            name: (total / counts.to(total.device).view(-1, *[1] * (total.dim() - 1))).float()
            for name, total in sums.items()
        }


class CachedFeatures:
    """Images of a split, each encoded when a task first uses it, in a table of features.

    With a `cache` the table lies on disk, and holds what earlier evaluations encoded.
    """

    def __init__(
        self, encoder: ImageEncoder, base: BaseImages | None = None, cache: FeatureCache | None = None
    ) -> None:
        self.method = encoder.method
        self.precision = "bfloat16" if encoder.bf16 else "float32"
        self._encoder, self._base, self._cache = encoder, base, cache
        self._device = encoder.pixels.device
        self._means: Features | None = None
        self._present = torch.zeros(len(encoder.pixels), dtype=torch.bool)
        self.table: Features = {}
        self._on_disk: CachedTable | None = cache.open(len(encoder.pixels)) if cache else None
        if self._on_disk:
            self._use(self._on_disk)

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
                    if self._on_disk and self._device.type != "cpu":
                        self._on_disk.arrays[name][block.numpy()] = value.cpu().numpy()
            self._present[missing] = True
            if self._on_disk:
                self._on_disk.mark(missing.numpy())

    def gather(self, ids: Tensor) -> Features:
        """Rows of the table."""
        return {
            name: table.index_select(0, ids.flatten().to(table.device)).unflatten(0, ids.shape)
            for name, table in self.table.items()
        }

    def encoded_ids(self) -> Tensor:
        """Sorted ids of the images that were encoded."""
        return self._present.nonzero()[:, 0]

    def encoded(self) -> tuple[Tensor, Features]:
        """Sorted ids of the images that were encoded, and their features."""
        ids = self.encoded_ids()
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
        if self._cache:
            self._on_disk = self._cache.create(rows, _shapes(features))
        if self._on_disk:
            self._use(self._on_disk)
        else:
            self.table = {name: value.new_empty(rows, *value.shape[1:]) for name, value in features.items()}

    def _use(self, on_disk: CachedTable) -> None:
        """Use the arrays on disk as the table; a GPU gets a copy of them."""
        self.table = {name: torch.from_numpy(array).to(self._device) for name, array in on_disk.arrays.items()}
        self._present = torch.from_numpy(on_disk.present)


class UncachedFeatures:
    """Encodes images each time they are gathered: for methods that adapt the network, and to test the cache."""

    precision = "float32"

    def __init__(self, encoder: ImageEncoder, base: BaseImages | None = None) -> None:
        self.method, self._encoder, self._base = encoder.method, encoder, base
        self.bytes_per_image = encoder.pixels.gather(torch.zeros(1, dtype=torch.long)).nbytes

    def prepare(self, ids: Tensor) -> None:
        """Nothing can be encoded ahead."""

    def gather(self, ids: Tensor) -> Features:
        """Encoded pixels."""
        inputs = self._encoder.inputs(ids.flatten())
        return self.method.encode({name: value.unflatten(0, ids.shape) for name, value in inputs.items()})

    def base_means(self) -> Features:
        """Class means of the train split."""
        return _base_means(self._encoder, self._base)


def feature_source(
    encoder: ImageEncoder, base: BaseImages | None = None, cache: FeatureCache | None = None
) -> FeatureSource:
    """Pixels cannot be encoded ahead; everything else can.

    Raises:
        UserError: where bfloat16 is set for a method that reads pixels, as its network stays in float32.
    """
    if "image" in encoder.method.needs:
        if encoder.bf16:
            raise UserError(
                f"EVAL.PRECISION is bf16, but {encoder.method.name} adapts its network to each task, which stays in "
                "float32; set it to fp32."
            )
        return UncachedFeatures(encoder, base)
    return CachedFeatures(encoder, base, cache)


@torch.no_grad()
def _base_means(encoder: ImageEncoder, base: BaseImages | None) -> Features:
    """Mean feature of each class of the train split: from the cache, where they are there."""
    assert base is not None, "an evaluator of a method that needs base means opens the train split"
    split, pixels = base.open()
    cache = base.cache()
    kept = cache.open(len(split.classes)) if cache else None
    if kept and kept.present.all():
        return {name: torch.from_numpy(array).to(pixels.device) for name, array in kept.arrays.items()}
    labels = torch.from_numpy(split.labels)
    means = replace(encoder, pixels=pixels, name="base classes").class_means(labels, base.limit)
    table = kept or (cache.create(len(split.classes), _shapes(means)) if cache else None)
    if table:
        for name, value in means.items():
            table.arrays[name][:] = value.cpu().numpy()
        table.mark(np.arange(len(split.classes)))
    return means


def _first_of_each(labels: Tensor, limit: int) -> Tensor:
    """The first `limit` images of each class; labels [M] do not decrease."""
    counts = labels.bincount()
    first = counts.cumsum(0) - counts
    return torch.cat([torch.arange(int(a), int(a + min(n, limit))) for a, n in zip(first, counts, strict=True)])


def _shapes(features: Features) -> dict[str, tuple[int, ...]]:
    """The shape of one row of each feature."""
    return {name: tuple(value.shape[1:]) for name, value in features.items()}
