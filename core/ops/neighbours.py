"""Labels of queries that agree with their neighbours': Ziko, Dolz, Granger and Ben Ayed, ICML 2020.

https://arxiv.org/abs/2006.15486
"""

from __future__ import annotations

import torch
from torch import Tensor

from .distances import squared_euclidean


def nearest_neighbours(vectors: Tensor, count: int) -> Tensor:
    """W [T, n, n]: 1 from each vector to its `count` nearest others, or to all others where there are fewer.

    W is not symmetric. Of equally distant vectors those that `topk` finds first are taken.
    """
    distances = squared_euclidean(vectors, vectors)
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    nearest = distances.topk(min(count, vectors.shape[1] - 1), dim=-1, largest=False).indices
    return torch.zeros_like(distances).scatter_(-1, nearest, 1.0)


def agreeing_logits(unary: Tensor, weights: Tensor, pull: float, steps: int) -> Tensor:
    """Logits u + pull W Y [T, Q, N], where Y is their own softmax, by `steps` iterations from Y = softmax(u).

    Each lowers the Laplacian-regularised energy (the paper's eq. 11): neighbours pull a query towards their classes.

    Args:
        unary: u [T, Q, N], minus the squared distances to the classes.
        weights: W [T, Q, Q].
        pull: lambda; 0 leaves the logits as they are.
        steps: iterations.
    """
    logits = unary
    for _ in range(steps):
        logits = unary + pull * (weights @ logits.softmax(-1))
    return logits
