"""Labels that spread over a graph of near vectors: Zhou et al., "Learning with Local and Global Consistency", 2004."""

from __future__ import annotations

import torch
from torch import Tensor


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
    sums = weights.sum(-1)
    scale = torch.where(sums > 0, sums, 1).rsqrt()
    return torch.linalg.inv(itself.to(cosines) - alpha * scale[:, :, None] * weights * scale[:, None])
