"""Where the evaluator's features come from: encoded once, or live where a method wants pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from core.data.loaders import Pixels
from core.engine.device import images_at_once
from core.episode import Features
from core.methods.base import Method
from core.report.progress import Progress


class Source(Protocol):
    """Features of any images of a split."""

    bytes_per_image: int

    def gather(self, ids: Tensor) -> Features:
        """Features of images `ids` [T, n], each [T, n, ...]."""


def encode_in_blocks(
    method: Method, pixels: Pixels, ids: Tensor, image_size: int, batch: int = 0, show: bool = False
) -> Iterator[tuple[Tensor, Features]]:
    """Encode images `ids`, a block at a time; yields each block's ids and features.

    `batch` images pass the backbone together (0: chosen for the device). Every block is padded to that size, and to
    2 at least: convolution libraries choose their path by the number of images, so an unpadded last block would be
    rounded differently.
    """
    size = max(2, batch or images_at_once(image_size, pixels.device))
    with Progress(len(ids), "images", show) as bar:
        for block in ids.split(size):
            padded = torch.cat([block, block[-1:].expand(size - len(block))])
            features = method.encode(pixels.gather(padded))
            yield block, {name: value[: len(block)] for name, value in features.items()}
            bar.update(len(block))


class CachedFeatures:
    """Every used image of a split encoded once, in a table of features."""

    def __init__(
        self, method: Method, pixels: Pixels, used: Tensor, image_size: int, batch: int = 0, show: bool = False
    ) -> None:
        self._table: Features = {}
        for ids, features in encode_in_blocks(method, pixels, used, image_size, batch, show):
            for name, value in features.items():
                if name not in self._table:
                    self._table[name] = value.new_empty(len(pixels), *value.shape[1:])
                self._table[name][ids.to(value.device)] = value
        self.bytes_per_image = sum(table[0].nbytes for table in self._table.values())

    def gather(self, ids: Tensor) -> Features:
        """Rows of the table."""
        return {
            name: table.index_select(0, ids.flatten().to(table.device)).unflatten(0, ids.shape)
            for name, table in self._table.items()
        }


class LiveFeatures:
    """Encodes what is asked for, each time: for methods that adapt the network, and to test the cache."""

    def __init__(self, method: Method, pixels: Pixels, image_size: int) -> None:
        self._method, self._pixels = method, pixels
        self.bytes_per_image = 3 * image_size**2 * 4

    def gather(self, ids: Tensor) -> Features:
        """Encoded pixels."""
        return self._method.encode(self._pixels.gather(ids.flatten()).unflatten(0, ids.shape))


def source_for(
    method: Method, pixels: Pixels, used: Tensor, image_size: int, batch: int = 0, show: bool = False
) -> Source:
    """Pixels cannot be encoded ahead; everything else can."""
    if "image" in method.needs:
        return LiveFeatures(method, pixels, image_size)
    return CachedFeatures(method, pixels, used, image_size, batch, show)


def class_means(
    method: Method, pixels: Pixels, labels: Tensor, image_size: int, batch: int = 0, show: bool = False
) -> Features:
    """Mean feature of each class of a split, [classes, ...]; `labels` [M] are those of all its images."""
    counts = labels.bincount()
    sums: Features = {}
    for ids, features in encode_in_blocks(method, pixels, torch.arange(len(labels)), image_size, batch, show):
        for name, value in features.items():
            if name not in sums:
                sums[name] = value.new_zeros(len(counts), *value.shape[1:], dtype=torch.float64)
            sums[name].index_add_(0, labels[ids].to(value.device), value.double())
    return {
        name: (total / counts.to(total.device).view(-1, *[1] * (total.dim() - 1))).float()
        for name, total in sums.items()
    }
