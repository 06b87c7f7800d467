"""Keeping some images of every base class out of training, for evaluations that mix base and novel classes."""

from __future__ import annotations

import hashlib

import numpy as np

from ..errors import UserError
from .store import Split


def hold_out(split: Split, count: int) -> tuple[Split, Split]:
    """A split without the last `count` images of each class, and a split of these.

    The images of a class are ordered by a hash of their names, so neither the image size nor the order on disk
    matters. Both splits read the same file of pixels.

    Raises:
        UserError: where a class has no more than `count` images.
    """
    smallest = int(split.counts.argmin())
    if count >= split.counts[smallest]:
        raise UserError(
            f"DATASET.BASE_HOLDOUT is {count}, but class {split.classes[smallest]!r} of {split.dataset} has "
            f"{split.counts[smallest]} images; lower it."
        )
    hashes = [hashlib.sha256(name.encode()).digest() for name in split.names]
    order = np.array(sorted(range(len(hashes)), key=lambda row: (split.labels[row], hashes[row])))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(split.counts) - split.counts, split.counts)
    last = rank >= np.repeat(split.counts, split.counts) - count
    return (
        split.subset(np.sort(order[~last]), base_holdout=[count, "kept"]),
        split.subset(np.sort(order[last]), base_holdout=[count, "held out"]),
    )
