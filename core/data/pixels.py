"""The images of a split: stored as bytes, on the device if they fit there, and normalised when they are gathered."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .augment import Transform
from .store import Split
from .views import Views


class Statistics(Protocol):
    """Mean and deviation of red, green and blue in 0..1."""

    @property
    def mean(self) -> tuple[float, ...]: ...

    @property
    def std(self) -> tuple[float, ...]: ...


class ChannelStatistics(NamedTuple):
    """The `Statistics` of a split's images."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> ChannelStatistics:
        """Those in a split's manifest; none where it holds features."""
        return cls(tuple(manifest.get("mean", ())), tuple(manifest.get("std", ())))


class Pixels:
    """The images or features of a split, on the device where they fit, else gathered on the host.

    Images are normalised with `statistics` (default: their own).
    """

    def __init__(self, split: Split, device: torch.device, statistics: Statistics | None = None) -> None:
        self.device = device
        self._images = torch.from_numpy(split.images)
        self._file = split.images.filename if isinstance(split.images, np.memmap) else None
        self._rows = None if split.rows is None else torch.from_numpy(split.rows)
        if device.type != "cpu" and self._images.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
            self._images = self._images.to(device)
        self._are_features = bool(split.features)
        if self._are_features:
            return
        statistics = statistics or ChannelStatistics.of(split.manifest)
        mean, std = (torch.tensor(values, device=device) for values in (statistics.mean, statistics.std))
        std = std.clamp(min=0.01)  # a channel that never varies stays finite
        # One number for each value of a line of pixels: longer stretches of arithmetic.
        line = (self._images.shape[2], 3)
        self._scale, self._shift = ((values.expand(line).contiguous()) for values in (1 / std, -mean / std))

    def __len__(self) -> int:
        return len(self._images if self._rows is None else self._rows)

    @property
    def is_remote(self) -> bool:
        """Whether the images stay on the host, for a GPU that they do not fit."""
        return self._images.device.type != self.device.type

    def gather(self, ids: Tensor, seed: Tensor | None = None, transforms: Sequence[Transform] = ()) -> Tensor:
        """Normalised images of `ids` [n], as [n, 3, H, W] in channels-last layout; features as they are, [n, D].

        `seed` [n] are the seeds of the images' augmentation.
        """
        if self._are_features:
            return self.raw(ids)
        pixels = self._chosen(ids)
        for transform in transforms:
            pixels = transform(pixels if transform.moves else _shares(pixels), seed)
        return self._normalised(_shares(pixels)).permute(0, 3, 1, 2)

    def crops(self, ids: Tensor, seed: Tensor, views: Views, train: bool) -> Tensor:
        """Normalised crops of `ids` [n] under their seeds [n], as [n, V, 3, H, W]."""
        return self._normalised(views(self.raw(ids), seed, train)).permute(0, 1, 4, 2, 3)

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Pixels [..., H, W, 3] with the mean and the deviation of the statistics taken off."""
        return (pixels * self._scale).add_(self._shift)

    def _refuse_cut(self) -> None:
        """Refuse a file that was cut short or removed since it was opened: reading its map would kill the process."""
        if self._file is None or self._images.device.type != "cpu":
            return
        try:
            length = os.stat(self._file).st_size
        except OSError:
            return  # removed, which leaves the map whole
        if length < self._images.nbytes:
            raise UserError(f"{self._file} was cut short while it was read; prepare the data set again.")

    def raw(self, ids: Tensor) -> Tensor:
        """Pixels in 0..1, [n, H, W, 3], or features [n, D]."""
        chosen = self._chosen(ids)
        return chosen.float() if self._are_features else _shares(chosen)

    def _chosen(self, ids: Tensor) -> Tensor:
        """Images of `ids` [n] as they are stored: bytes, or features."""
        self._refuse_cut()
        rows = ids if self._rows is None else self._rows[ids.cpu()]
        chosen = self._images[rows.to(self._images.device)]
        return chosen.pin_memory().to(self.device, non_blocking=True) if self.is_remote else chosen


def _shares(pixels: Tensor) -> Tensor:
    """Bytes as numbers in 0..1; what is such a number already stays."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels
