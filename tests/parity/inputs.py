"""Small inputs that are a formula, so that they need no generator of random numbers and no file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

WAY, QUERIES, WIDTH, SIDE, VIEWS, N_BASE, WORD = 3, 3, 6, 2, 3, 5, 4
SHAPES = {
    "vector": (WIDTH,),
    "map": (WIDTH, SIDE, SIDE),
    "parts": (VIEWS, WIDTH),
    "image": (3, 6, 6),
}


def numbers(*shape: int, seed: int) -> Tensor:
    """Numbers in [-1, 1) in float64: a hash of seed and index on integers, hence the same on every machine."""
    x = torch.arange(math.prod(shape)) + 1_000_003 * (seed + 1)
    for _ in range(3):
        x = ((x >> 16) ^ x) * 0x45D9F3B & 0xFFFFFFFF
    return (x.double() / 2**31 - 1).view(shape)


@dataclass
class Inputs:
    """One task, or one batch of base images as `query`, and a method's parameters; tensors that are learned are leaves.

    Supports stand class by class. `start` is where the rows of a fine-tuned head begin, `bias` their offsets.
    """

    support: dict[str, Tensor]  # [n_s, ...]
    support_y: Tensor
    query: dict[str, Tensor]  # [Q, ...]
    query_y: Tensor
    parameters: dict[str, Tensor]
    base: dict[str, Tensor]  # [n_base, ...]
    base_counts: list[int]
    words: Tensor  # [N, D]
    class_ids: list[int]
    base_query: dict[str, Tensor]
    base_query_y: Tensor
    start: Tensor
    bias: Tensor
    gradient_of: dict[str, Tensor] = field(default_factory=dict)  # leaves whose gradients are compared

    def members(self, n: int, feature: str) -> list[Tensor]:
        """The supports of class n."""
        return [x for x, y in zip(self.support[feature], self.support_y.tolist(), strict=True) if y == n]


def learned(*shape: int, seed: int) -> Tensor:
    """Such numbers as a leaf that takes a gradient."""
    return numbers(*shape, seed=seed).requires_grad_()


def features(names: tuple[str, ...], images: int, seed: int) -> dict[str, Tensor]:
    """The named features of some images."""
    return {name: learned(images, *SHAPES[name], seed=seed + place) for place, name in enumerate(names)}
