"""Labels of queries that agree with their neighbours': Ziko, Dolz, Granger and Ben Ayed, ICML 2020.

https://arxiv.org/abs/2006.15486
"""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_neighbours(distances: Tensor, count: int) -> Tensor:
    """W [T, n, n]: 1 from each vector to its `count` nearest others, or to all others where there are fewer.

    W is not symmetric. Of equally distant vectors the first are taken. `distances` are [T, n, n].
    """
    others = distances.clone()
    others.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    weights = torch.zeros_like(distances)
    for _ in range(min(count, distances.shape[1] - 1)):  # of few neighbours, faster than a sort
        nearest = others.argmin(-1, keepdim=True)
        weights.scatter_(-1, nearest, 1.0)
        others.scatter_(-1, nearest, torch.inf)
    return weights


def agreeing_logits(unary: Tensor, weights: Tensor, pull: float, steps: int) -> Tensor:
    """Logits u + pull W Y [T, Q, N], where Y is their own softmax, by `steps` iterations from Y = softmax(u).

    Each lowers the Laplacian-regularised energy (the paper's eq. 11): neighbours pull a query towards their classes.

    Args:
        unary: u [T, Q, N], minus the squared distances to the classes.
        weights: W [T, Q, Q].
        pull: lambda; 0 leaves the logits as they are.
        steps: iterations.
    """
    start = unary.transpose(1, 2).contiguous()  # [T, N, Q]: a faster softmax
    pulls = pull * weights.transpose(1, 2).contiguous()  # its products are twice as fast
    logits = start
    for _ in range(steps):
        logits = torch.baddbmm(start, logits.softmax(1), pulls)
    return logits.transpose(1, 2)
