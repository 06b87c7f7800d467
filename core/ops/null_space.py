"""The projection onto the directions that are orthogonal to given vectors, without a singular value decomposition."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-12  # of the squared length of a direction that counts, relative to vectors of length 1


def without(directions: Tensor, vectors: Tensor) -> Tensor:
    """vectors (I - E^T (E E^T)^-1 E): [T, N, d] and [T, n, d] to [T, n, d].

    With the columns of M an orthonormal base of the null space of E, this is vectors M M^T; products and distances of
    vectors M are those of the result. E is taken as a constant. Vectors shorter than 1e-6 count as zero.
    """
    e = directions.detach().double()
    gram = e @ e.transpose(1, 2)
    gram.diagonal(dim1=1, dim2=2).add_(LEAST)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    onto = (e.transpose(1, 2) @ inverse).to(vectors.dtype)
    return vectors - (vectors @ onto) @ directions.detach()
