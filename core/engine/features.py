"""Where the evaluator's features come from: encoded once, or live where a method wants pixels."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from core.data.loaders import Pixels
from core.engine.device import images_at_once
from core.episode import Features
from core.methods.base import Method


class Source(Protocol):
    """Features of any images of a split."""

    bytes_per_image: int

    def gather(self, ids: Tensor) -> Features:
        """Features of images `ids` [T, n], each [T, n, ...]."""


class CachedFeatures:
    """Every used image of a split encoded once, in a table of features.

    `batch` images pass the backbone together (0: chosen for the device). Every block is padded to that size, and to
    2 at least: convolution libraries choose their path by the number of images, so an unpadded last block would be
    rounded differently.
    """

    def __init__(self, method: Method, pixels: Pixels, used: Tensor, image_size: int, batch: int = 0) -> None:
        self._table: Features = {}
        block = max(2, batch or images_at_once(image_size, pixels.device))
        for ids in used.split(block):
            padded = torch.cat([ids, ids[-1:].expand(block - len(ids))])
            for name, value in method.encode(pixels.gather(padded)).items():
                if name not in self._table:
                    self._table[name] = value.new_empty(len(pixels), *value.shape[1:])
                self._table[name][ids.to(value.device)] = value[: len(ids)]
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


def source_for(method: Method, pixels: Pixels, used: Tensor, image_size: int, batch: int) -> Source:
    """Pixels cannot be encoded ahead; everything else can."""
    if "image" in method.needs:
        return LiveFeatures(method, pixels, image_size)
    return CachedFeatures(method, pixels, used, image_size, batch)
