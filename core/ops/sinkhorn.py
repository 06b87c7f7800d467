"""Assignments of queries to classes with given margins: Cuturi, NeurIPS 2013, https://arxiv.org/abs/1306.0895."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 1000  # the most that a task takes
RIDGE = 1e-12  # of the mean curvature, added to every curvature


def balanced(
    logits: Tensor,
    columns: Tensor,
    start: Tensor | None = None,
    counted: Tensor | None = None,
    tolerance: float = 1e-9,
) -> Assignment:
    """P = diag(u) exp(logits) diag(v), whose rows sum to 1 and whose columns to `columns`.

    This is the limit of Sinkhorn's algorithm. Its unknown is log v alone, of N numbers, since rows follow from it. A
    step is Newton's, or Sinkhorn's where Newton's does not halve the error: Sinkhorn's never raises it, and Newton's
    squares it once it is small. Each task stops by itself, at the latest after 1000 steps. Computed in float64.

    Args:
        logits: [T, N, Q].
        columns: [T, N] above 0, with the sum Q in each task, or the number of queries that count.
        start: log v [T, N] of similar logits, which saves steps.
        counted: which queries count, [T, Q]; the others have rows of 0. By default all do.
        tolerance: a task stops once no column's sum is wrong by more.
    """
    logits, columns = logits.double(), columns.double()
    rows = torch.ones_like(logits[:, :1]) if counted is None else counted[:, None].double()
    potential = torch.zeros_like(columns) if start is None else start  # log v
    p = _shares(logits, potential, rows)
    error = p.sum(2) - columns  # the gradient of the convex function that log v minimises
    solved, active = Assignment(torch.empty_like(p), torch.empty_like(potential)), torch.arange(len(p), device=p.device)
    for step in range(STEPS + 1):
        going = error.abs().amax(1) > (tolerance if step < STEPS else torch.inf)
        if not going.all():
            solved.shares[active[~going]], solved.potential[active[~going]] = p[~going], potential[~going]
            parts = (active, logits, columns, rows, potential, p, error)
            active, logits, columns, rows, potential, p, error = (part[going] for part in parts)
        if not len(active):
            break
        potential, p, error = _step(logits, columns, rows, potential, p, error)
    return solved


@dataclass(frozen=True)
class Assignment:
    """Shares P [T, N, Q] of queries in classes, and the potential log v [T, N] that gives them."""

    shares: Tensor
    potential: Tensor


def _step(
    logits: Tensor, columns: Tensor, rows: Tensor, potential: Tensor, p: Tensor, error: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The next log v and P, and its error."""
    after = potential - _newton(p, error)
    p = _shares(logits, after, rows)
    left = p.sum(2) - columns
    bad = ~(2 * left.abs().sum(1) < error.abs().sum(1))  # also where it is not a number
    if bad.any():
        log_p = (logits[bad] + potential[bad][..., None]).log_softmax(1) + rows[bad].log()
        after[bad] = potential[bad] + columns[bad].log() - log_p.logsumexp(2)
        p[bad] = _shares(logits[bad], after[bad], rows[bad])
        left[bad] = p[bad].sum(2) - columns[bad]
    return after, p, left


def _shares(logits: Tensor, potential: Tensor, rows: Tensor) -> Tensor:
    """P with rows of these sums [T, 1, Q], 0 or 1."""
    return (logits + potential[..., None]).softmax(1) * rows


def _newton(p: Tensor, error: Tensor) -> Tensor:
    """Newton's step [T, N]; a common shift of log v changes nothing, so its curvature of 0 is replaced."""
    curvature = p.sum(2).diag_embed() - p @ p.transpose(1, 2)
    mean = curvature.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    curvature = curvature + mean * (1 + RIDGE * torch.eye(p.shape[1], dtype=p.dtype, device=p.device))
    return torch.linalg.solve_ex(curvature, error[..., None]).result[..., 0]
