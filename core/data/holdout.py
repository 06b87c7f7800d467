"""Keeping some images of every base class out of training, for evaluations that mix base and novel classes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from ..errors import UserError
from .store import Split
from .writer import fingerprint


def hold_out(split: Split, count: int) -> tuple[Split, Split]:
    """A split without the last `count` images of each class, ordered by hash of name, and a split of these.

    Both show rows of the same pixels on disk; neither the image size nor the order on disk enters.
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
    return _subset(split, np.sort(order[~last]), count, "kept"), _subset(split, np.sort(order[last]), count, "held out")


def _subset(split: Split, chosen: np.ndarray, count: int, part: str) -> Split:
    """Some images of a split, with a fingerprint of their own."""
    names, labels = [split.names[row] for row in chosen.tolist()], split.labels[chosen]
    manifest = {
        **split.manifest,
        "counts": np.bincount(labels, minlength=len(split.classes)).tolist(),
        "fingerprint": fingerprint(split.classes, names, labels),
        "base_holdout": [count, part],
    }
    rows = chosen if split.rows is None else split.rows[chosen]
    return replace(split, labels=labels, names=names, manifest=manifest, rows=rows)
