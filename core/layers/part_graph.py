"""A graph convolution over the parts of a task's supports."""

from __future__ import annotations

import math
from typing import Literal, get_args

from torch import Tensor, nn

from ..errors import UserError
from ..ops.part_links import averaging_matrix, part_links

Graph = Literal["identity", "class", "knn"]
GRAPHS: tuple[Graph, ...] = get_args(Graph)


class PartGraph(nn.Module):
    """G(X) = X + A H W2 + b2 with H = Dropout(ReLU(A X W1 + b1)), for the parts X of a task's supports.

    A = D^-1 (links + I): every part is averaged with those it is linked to. `identity` links none, so that A is the
    identity. 3,280,000 parameters at 640 channels: the hidden layer has four times as many channels. Weights and
    biases start uniform in +- 1 / sqrt(fan-out).

    Args:
        width: C.
        kind: identity, or which parts are linked, see `part_links`.
        neighbours: links of each part, for `knn`.
        dropout: of H, in training.

    Raises:
        UserError: for fewer than one neighbour.
    """

    def __init__(self, width: int, kind: Graph, neighbours: int, dropout: float = 0.5) -> None:
        super().__init__()
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
        if self.kind == "identity":  # a residual perceptron for each part alone
            return parts + self.outer(self.dropout(self.inner(parts).relu()))
        nodes = parts.flatten(1, 2)
        average = averaging_matrix(part_links(self.kind, parts, labels, self.neighbours)).to(nodes.dtype)
        hidden = self.dropout(self.inner(average @ nodes).relu())
        return parts + self.outer(average @ hidden).unflatten(1, parts.shape[1:3])
