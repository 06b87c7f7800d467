"""Distances between queries and class vectors, [T, Q, D] x [T, N, D] to [T, Q, N]."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_euclidean(query: Tensor, vectors: Tensor) -> Tensor:
    """|q|^2 - 2 <q, v> + |v|^2, clamped at 0 against rounding."""
    norms = query.square().sum(-1, keepdim=True) + vectors.square().sum(-1)[:, None]
    return torch.baddbmm(norms, query, vectors.transpose(1, 2), alpha=-2).clamp(min=0)


def euclidean(query: Tensor, vectors: Tensor) -> Tensor:
    """|q - v|; below 1e-6 it stays there, with gradient 0, as the square root has none at 0."""
    return squared_euclidean(query, vectors).clamp(min=1e-12).sqrt()


def cosine(query: Tensor, vectors: Tensor) -> Tensor:
    """Cosine of every pair."""
    return F.normalize(query, dim=-1) @ F.normalize(vectors, dim=-1).transpose(1, 2)


SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "euclidean": lambda query, vectors: -euclidean(query, vectors),
    "squared": lambda query, vectors: -squared_euclidean(query, vectors),
    "cosine": cosine,
}
