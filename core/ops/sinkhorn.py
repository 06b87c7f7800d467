"""Assignments of queries to classes with given margins: Cuturi, NeurIPS 2013, https://arxiv.org/abs/1306.0895."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-12  # of the mean curvature, added to every curvature


def balanced(logits: Tensor, columns: Tensor, tolerance: float = 1e-9, steps: int = 1000) -> Tensor:
    """Logarithm [T, Q, N] of P = diag(u) exp(logits) diag(v), whose rows sum to 1 and whose columns to `columns`.

    This is the limit of Sinkhorn's algorithm. Its unknown is log v alone, of N numbers, since rows follow from it. A
    step is Newton's or Sinkhorn's, whichever leaves the smaller error: Sinkhorn's never raises it, and Newton's squares
    it once it is small. Each task stops by itself. Computed in float64.

    Args:
        logits: [T, Q, N].
        columns: [T, N] above 0, with the sum Q in each task.
        tolerance: a task stops once no column's sum is wrong by more.
        steps: the most steps.
    """
    logits, columns = logits.double(), columns.double()
    potential = torch.zeros_like(columns)  # log v
    log_p = logits.log_softmax(-1)
    for _ in range(steps):
        error = _error(log_p, columns)
        going = error.abs().amax(1, keepdim=True) > tolerance
        if not going.any():
            break
        tried = [potential + columns.log() - log_p.logsumexp(1), potential - _newton(log_p.exp(), error)]
        sizes = [_error(_rows(logits, v), columns).abs().sum(1, keepdim=True) for v in tried]
        better = torch.where(sizes[1] < sizes[0], tried[1], tried[0])  # Sinkhorn's where Newton's is not a number
        potential = torch.where(going, better, potential)
        log_p = _rows(logits, potential)
    return log_p


def _rows(logits: Tensor, potential: Tensor) -> Tensor:
    """log P with rows that sum to 1."""
    return (logits + potential[:, None]).log_softmax(-1)


def _error(log_p: Tensor, columns: Tensor) -> Tensor:
    """What the columns' sums are too large by, [T, N]: the gradient of the convex function that log v minimises."""
    return log_p.exp().sum(1) - columns


def _newton(p: Tensor, error: Tensor) -> Tensor:
    """Newton's step [T, N]; a common shift of log v changes nothing, so its curvature of 0 is replaced."""
    sums = p.sum(1)
    curvature = sums.diag_embed() - p.transpose(1, 2) @ p
    mean = curvature.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    curvature = curvature + mean * (1 + RIDGE * torch.eye(p.shape[2], dtype=p.dtype, device=p.device))
    return torch.linalg.solve_ex(curvature, error[..., None]).result[..., 0]
