"""Two images as sets of local vectors ("nodes"): how alike the nodes are, and how much each counts (DeepEMD)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_WEIGHT = 1e-3  # added to every node's weight
LEAST_LENGTH = 1e-6  # of a node that is compared


def compare(query: Tensor, classes: Tensor, centred: bool) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Cosine of every pair of nodes, [T, Q, N, P, R], and the nodes' weights [T, Q, N, P] and [T, Q, N, R].

    One matrix product a task for queries [T, Q, P, C] and classes [T, N, R, C]. Products with a centred vector do not
    see the other's mean, so only the classes are centred, and queries' lengths are corrected instead.
    """
    q, c = query.flatten(1, 2), classes.flatten(1, 2)
    other = classes.mean(2)
    moved = c - c.mean(-1, keepdim=True) if centred else c
    products = q @ torch.cat([F.normalize(moved, dim=-1), other], 1).transpose(1, 2)
    square = torch.linalg.vector_norm(q, dim=-1, keepdim=True).square()  # no second tensor of q's size
    if centred:
        square = square - q.shape[-1] * q.mean(-1, keepdim=True).square()
    cosines = products[..., : c.shape[1]] * square.clamp(min=LEAST_LENGTH**2).rsqrt()
    cosines = cosines.unflatten(2, classes.shape[1:3]).unflatten(1, query.shape[1:3]).transpose(2, 3)
    of_query = products[..., c.shape[1] :].unflatten(1, query.shape[1:3]).transpose(2, 3)
    of_class = (c @ query.mean(2).transpose(1, 2)).unflatten(1, classes.shape[1:3]).permute(0, 3, 1, 2)
    return cosines, (of_query.relu() + LEAST_WEIGHT, of_class.relu() + LEAST_WEIGHT)
