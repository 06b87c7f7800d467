"""Assignments of queries to classes with given margins: Cuturi, NeurIPS 2013, https://arxiv.org/abs/1306.0895."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 1000  # the most that a task takes
RIDGE = 1e-12  # of the mean curvature, added to every curvature


def balanced(logits: Tensor, columns: Tensor, start: Tensor | None = None, tolerance: float = 1e-9) -> Assignment:
    """P = diag(u) exp(logits) diag(v), whose rows sum to 1 and whose columns to `columns`.

    This is the limit of Sinkhorn's algorithm. Its unknown is log v alone, of N numbers, since rows follow from it. A
    step is Newton's or Sinkhorn's, whichever leaves the smaller error: Sinkhorn's never raises it, and Newton's squares
    it once it is small. Each task stops by itself, at the latest after 1000 steps. Computed in float64.

    Args:
        logits: [T, N, Q].
        columns: [T, N] above 0, with the sum Q in each task.
        start: log v [T, N] of similar logits, which saves steps.
        tolerance: a task stops once no column's sum is wrong by more.
    """
    logits, columns = logits.double(), columns.double()
    potential = torch.zeros_like(columns) if start is None else start.clone()  # log v
    p = _rows(logits, potential)
    active = torch.arange(len(logits), device=logits.device)
    for _ in range(STEPS):
        error = p[active].sum(2) - columns[active]  # the gradient of the convex function that log v minimises
        going = error.abs().amax(1) > tolerance
        active, error = active[going], error[going]
        if not len(active):
            break
        potential[active], p[active] = _step(logits[active], columns[active], potential[active], p[active], error)
    return Assignment(p, potential)


@dataclass(frozen=True)
class Assignment:
    """Shares P [T, N, Q] of queries in classes, and the potential log v [T, N] that gives them."""

    shares: Tensor
    potential: Tensor


def _step(logits: Tensor, columns: Tensor, potential: Tensor, p: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """The better of both steps: log v and P."""
    sinkhorn = potential + (columns / (error + columns)).log()
    newton = potential - _newton(p, error)
    tried = [(_rows(logits, v), v) for v in (sinkhorn, newton)]
    sizes = [(p.sum(2) - columns).abs().sum(1) for p, _ in tried]
    better = (sizes[1] < sizes[0])[:, None]  # Sinkhorn's where Newton's is not a number
    return torch.where(better, newton, sinkhorn), torch.where(better[..., None], tried[1][0], tried[0][0])


def _rows(logits: Tensor, potential: Tensor) -> Tensor:
    """P with rows that sum to 1."""
    return (logits + potential[..., None]).softmax(1)


def _newton(p: Tensor, error: Tensor) -> Tensor:
    """Newton's step [T, N]; a common shift of log v changes nothing, so its curvature of 0 is replaced."""
    curvature = p.sum(2).diag_embed() - p @ p.transpose(1, 2)
    mean = curvature.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    curvature = curvature + mean * (1 + RIDGE * torch.eye(p.shape[1], dtype=p.dtype, device=p.device))
    return torch.linalg.solve_ex(curvature, error[..., None]).result[..., 0]
