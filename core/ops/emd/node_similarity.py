"""How alike the nodes of two images are, and how much each node counts (DeepEMD's cross-reference, eq. 8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_WEIGHT = 1e-3  # added to every node's weight
LEAST_LENGTH = 1e-6  # a shorter node is compared as if it were this long


def node_similarity(query: Tensor, classes: Tensor, centred: bool) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Cosine of every pair of nodes, [T, Q, N, P, R], and the nodes' weights [T, Q, N, P] and [T, Q, N, R].

    A node's weight is relu(<node, mean node of the other image>) + 0.001, not scaled to any total.

    One matrix product a task serves both. The product of a vector with a centred vector does not change when the first
    is centred too, so only the class nodes are centred there.

    Args:
        query: [T, Q, P, C], the P nodes of each query.
        classes: [T, N, R, C], the R nodes of each class.
        centred: whether the mean over channels is taken from each node before the cosine.
    """
    query_nodes, class_nodes = query.flatten(1, 2), classes.flatten(1, 2)
    directions = F.normalize(_centred(class_nodes) if centred else class_nodes, dim=-1)
    if centred:
        directions = _centred(directions)  # once more: the queries' means multiply what rounding left
    columns = torch.cat([directions, classes.mean(2)], 1)
    products = query_nodes @ columns.transpose(1, 2)
    # Centred before the square: |x|^2 - C mean^2 would lose a small deviation beside a large mean.
    compared = _centred(query_nodes) if centred else query_nodes
    square = torch.linalg.vector_norm(compared, dim=-1, keepdim=True).square()
    cosines = products[..., : class_nodes.shape[1]] * square.clamp(min=LEAST_LENGTH**2).rsqrt()
    cosines = cosines.unflatten(2, classes.shape[1:3]).unflatten(1, query.shape[1:3]).transpose(2, 3)
    of_query = products[..., class_nodes.shape[1] :].unflatten(1, query.shape[1:3]).transpose(2, 3)
    of_class = (class_nodes @ query.mean(2).transpose(1, 2)).unflatten(1, classes.shape[1:3]).permute(0, 3, 1, 2)
    return cosines, (of_query.relu() + LEAST_WEIGHT, of_class.relu() + LEAST_WEIGHT)


def _centred(nodes: Tensor) -> Tensor:
    """Nodes [..., C] less their mean over channels."""
    return nodes - nodes.mean(-1, keepdim=True)
