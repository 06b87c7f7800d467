"""Pairing the classes of T tasks with rows of a table, each row with at most one class."""

from __future__ import annotations

import torch
from torch import Tensor

from .emd.solvers import simplex


def greedy_matching(scores: Tensor) -> Tensor:
    """The best row that is still free, class after class: scores [T, N, M] to rows [T, N], N <= M."""
    scores, chosen = scores.clone(), []
    for n in range(scores.shape[1]):
        row = scores[:, n].argmax(1, keepdim=True)
        chosen.append(row)
        scores.scatter_(2, row[:, None].expand(-1, scores.shape[1], 1), -torch.inf)
    return torch.cat(chosen, 1)


def best_matching(scores: Tensor) -> Tensor:
    """The pairing with the largest sum of scores: [T, N, M] to [T, N], N <= M.

    It is the transport of N units to M rows of at most one unit each; rows that stay free take theirs from M - N more
    units at no cost. The solution of the network simplex is a corner, hence a pairing.
    """
    tasks, ways, rows = scores.shape
    cost = torch.zeros(tasks, rows, rows, dtype=torch.float64)
    cost[:, :ways] = -scores.cpu().double()
    unit = torch.ones(tasks, rows, dtype=torch.float64)
    return simplex(cost, unit, unit)[0][:, :ways].argmax(2).to(scores.device)
