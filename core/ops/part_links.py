"""Links between the parts of a task's supports, and the averages that a graph convolution takes along them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def part_links(kind: str, parts: Tensor, labels: Tensor, neighbours: int) -> Tensor:
    """Whether part i is linked to part j, [T, n * V, n * V].

    `class` links the parts of one class; `knn` links each part to the `neighbours` parts
    of any support that have the largest cosine with it, and is not symmetric. Links of a part to itself do not count.

    Args:
        kind: class or knn.
        parts: [T, n, V, C].
        labels: [T, n].
        neighbours: for `knn`; where there are fewer parts, all of them are linked.
    """
    if kind == "knn":
        return _nearest(parts.flatten(1, 2), neighbours)
    group = labels.repeat_interleave(parts.shape[2], 1)
    return group[:, :, None] == group[:, None]


def averaging_matrix(links: Tensor) -> Tensor:
    """D^-1 (links + I), [T, m, m] in float64: every part averaged with those it is linked to; each row sums to 1."""
    links = (links | torch.eye(links.shape[-1], dtype=torch.bool, device=links.device)).double()
    return links / links.sum(-1, keepdim=True)


@torch.no_grad()
def _nearest(nodes: Tensor, neighbours: int) -> Tensor:
    """Links of nodes [T, m, C] to the nearest of the others, by cosine."""
    nodes = F.normalize(nodes, dim=-1)
    cosines = nodes @ nodes.transpose(1, 2)
    cosines.diagonal(dim1=1, dim2=2).fill_(-2)
    nearest = cosines.topk(min(neighbours, nodes.shape[1] - 1), dim=-1).indices
    return torch.zeros_like(cosines, dtype=torch.bool).scatter_(-1, nearest, True)
