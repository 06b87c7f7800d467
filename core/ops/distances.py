"""Distances and similarities of queries and class vectors: [T, Q, D] and [T, N, D] to [T, Q, N]."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_euclidean(query: Tensor, vectors: Tensor) -> Tensor:
    """|q - v|^2 as |q|^2 - 2 <q, v> + |v|^2, at least 0 despite rounding.

    The mean of a task's class vectors is subtracted from all first. It changes no distance, but what all vectors have
    in common would cancel between the terms and take digits with it.
    """
    centre = vectors.detach().mean(1, keepdim=True)
    query, vectors = query - centre, vectors - centre
    lengths = [torch.linalg.vector_norm(x, dim=-1) for x in (query, vectors)]
    squares = lengths[0].square()[:, :, None] + lengths[1].square()[:, None]
    return torch.baddbmm(squares, query, vectors.transpose(1, 2), alpha=-2).clamp(min=0)


def euclidean(query: Tensor, vectors: Tensor) -> Tensor:
    """|q - v|, but at least 1e-6, with gradient 0 there: the square root has no finite one at 0."""
    return squared_euclidean(query, vectors).clamp(min=1e-12).sqrt()


def cosine(query: Tensor, vectors: Tensor) -> Tensor:
    """The cosine of every query with every class vector."""
    return F.normalize(query, dim=-1) @ F.normalize(vectors, dim=-1).transpose(1, 2)


SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "euclidean": lambda query, vectors: -euclidean(query, vectors),
    "squared": lambda query, vectors: -squared_euclidean(query, vectors),
    "cosine": cosine,
}
