"""A graph convolution over the parts of a task's supports: who is linked to whom, and what the links carry."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError

GRAPHS = ("identity", "class", "image", "knn")


class PartGraph(nn.Module):
    """G(X) = X + A H W2 + b2 with H = Dropout(ReLU(A X W1 + b1)), for the parts X of a task's supports.

    A = D^-1 (links + I): every part is averaged with those it is linked to. 3,280,000 parameters at 640 channels:
    the hidden layer has four times as many. Weights and biases start uniform in +- 1 / sqrt(fan-out).

    Args:
        width: C.
        kind: which parts are linked, see `links`.
        neighbours: of `knn`.
        dropout: of H, in training.

    Raises:
        UserError: for another kind, or fewer than one neighbour.
    """

    def __init__(self, width: int, kind: str, neighbours: int, dropout: float = 0.5) -> None:
        super().__init__()
        if kind not in GRAPHS:
            raise UserError(f"METHOD.ARGS.graph is {kind!r}, which is not one of: {', '.join(GRAPHS)}.")
        if neighbours < 1:
            raise UserError(f"METHOD.ARGS.neighbours is {neighbours}; it must be at least 1.")
        self.kind, self.neighbours = kind, neighbours
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.inner, self.outer):
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -1 / math.sqrt(layer.out_features), 1 / math.sqrt(layer.out_features))

    def forward(self, parts: Tensor, labels: Tensor) -> Tensor:
        """Parts [T, n, V, C] of images with labels [T, n] to the same shape."""
        nodes = parts.flatten(1, 2)
        if self.kind == "identity":  # A is the identity: a residual perceptron for each part alone
            return parts + self.outer(self.dropout(self.inner(parts).relu()))
        average = averages(links(self.kind, parts, labels, self.neighbours)).to(nodes.dtype)
        hidden = self.dropout(self.inner(average @ nodes).relu())
        return parts + self.outer(average @ hidden).unflatten(1, parts.shape[1:3])


def links(kind: str, parts: Tensor, labels: Tensor, neighbours: int) -> Tensor:
    """Whether part j reaches part i, [T, n * V, n * V].

    `class` links the parts of one class, `image` those of one image; `knn` links each part to the `neighbours` parts
    of any support that have the largest cosine with it, and is not symmetric. Links of a part to itself do not count.

    Args:
        kind: class, image or knn.
        parts: [T, n, V, C].
        labels: [T, n].
        neighbours: of `knn`; all others where there are fewer.
    """
    views = parts.shape[2]
    if kind == "knn":
        return _nearest(parts.flatten(1, 2), neighbours)
    of = labels if kind == "class" else torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
    of = of.repeat_interleave(views, 1)
    return of[:, :, None] == of[:, None]


def averages(linked: Tensor) -> Tensor:
    """D^-1 (links + I), [T, m, m] in float64; every row sums to 1."""
    linked = (linked | torch.eye(linked.shape[-1], dtype=torch.bool, device=linked.device)).double()
    return linked / linked.sum(-1, keepdim=True)


@torch.no_grad()
def _nearest(nodes: Tensor, neighbours: int) -> Tensor:
    """Links of nodes [T, m, C] to their nearest others by cosine."""
    nodes = F.normalize(nodes, dim=-1)
    cosines = nodes @ nodes.transpose(1, 2)
    cosines.diagonal(dim1=1, dim2=2).fill_(-2)
    found = cosines.topk(min(neighbours, nodes.shape[1] - 1), dim=-1).indices
    return torch.zeros_like(cosines, dtype=torch.bool).scatter_(-1, found, True)
