"""What a photograph looks like in 256 bits, to find the same picture in two files of other size or compression."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 16  # a look has SIDE * SIDE bits
BITS = SIDE * SIDE
NEAR = 10  # bits in which two looks of one picture may differ


def looks(pixels: np.ndarray) -> np.ndarray:
    """Looks [n, 32] uint8 of images [n, S, S, 3] uint8.

    A bit says whether a cell of the grey picture is brighter than its left neighbour (the difference hash).
    """
    return np.stack([_look(image) for image in pixels]) if len(pixels) else np.zeros((0, SIDE * SIDE // 8), np.uint8)


def _look(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1])


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bits in which looks [n, 32] and [m, 32] differ, [n, m]."""
    return np.bitwise_count(one[:, None] ^ other[None]).sum(-1, dtype=np.int64)


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`distances`, and all bits where a look is that of a plain picture, which all look alike."""
    bits = distances(one, other)
    bits[_is_plain(one)] = BITS
    bits[:, _is_plain(other)] = BITS
    return bits


def _is_plain(seen: np.ndarray) -> np.ndarray:
    """Whether looks [n, 32] are those of one colour or of a smooth rise: nearly all their bits agree, [n]."""
    bright = np.bitwise_count(seen).sum(-1, dtype=np.int64)
    return np.minimum(bright, BITS - bright) <= NEAR
