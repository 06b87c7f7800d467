"""Labels that spread over a graph of near vectors: Zhou et al., "Learning with Local and Global Consistency", 2004."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-24  # variance of squared distances that are all the same


def propagation(cosines: Tensor, neighbours: int, power: float, alpha: float) -> Tensor:
    """(I - alpha S)^-1 [T, n, n], by which labels [T, n, N] spread over the graph of nearest neighbours.

    S = D^-1/2 (W + W^T) D^-1/2, where W is cosine^power from each vector to its `neighbours` nearest others, and D the
    sums of rows of W + W^T. Negative cosines count as 0. A vector without neighbours keeps its label to itself.

    Args:
        cosines: [T, n, n].
        neighbours: at most all others.
        power: of the cosines.
        alpha: 0 to below 1; how far labels spread.
    """
    itself = torch.eye(cosines.shape[1], dtype=torch.bool, device=cosines.device)
    others = cosines.masked_fill(itself, -torch.inf)
    nearest = others.topk(min(neighbours, cosines.shape[1] - 1), dim=-1)
    weights = torch.zeros_like(cosines).scatter_(-1, nearest.indices, nearest.values.clamp(min=0) ** power)
    weights = weights + weights.transpose(1, 2)
    return propagator(weights, alpha)


def propagator(weights: Tensor, alpha: float, added: float = 0.0) -> Tensor:
    """(I - alpha S)^-1 of symmetric weights W [T, n, n], with S = D^-1/2 W D^-1/2; D: sums of W's rows plus `added`."""
    sums = weights.sum(-1) + added
    scale = torch.where(sums > 0, sums, 1).rsqrt()
    itself = torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
    return torch.linalg.inv(itself - alpha * scale[:, :, None] * weights * scale[:, None])


def gaussian_weights(squares: Tensor) -> Tensor:
    """exp(-d^2 / std(d^2)) [T, n, n] between vectors, and 0 from each to itself: EPNet's graph (eq. 1 and 2).

    The standard deviation is that of a task over all pairs of two vectors.

    Args:
        squares: d^2 [T, n, n], 0 from each vector to itself.
    """
    pairs = squares.shape[1] * (squares.shape[1] - 1)
    others = 1 - torch.eye(squares.shape[1], dtype=squares.dtype, device=squares.device)
    mean = squares.sum((1, 2), keepdim=True) / max(pairs, 1)
    variance = ((squares - mean).square() * others).sum((1, 2), keepdim=True) / max(pairs - 1, 1)
    return (-squares / variance.clamp(min=SMALLEST).sqrt()).exp() * others
