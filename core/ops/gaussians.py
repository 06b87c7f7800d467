"""Gaussians of local descriptors, and how far an image's lies from a class's.

A set of r descriptors has a mean mu and a sample covariance Sigma (divisor r - 1). An image's covariance is never
formed: its centred descriptors, scaled so that rows^T rows = Sigma, are enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """N(mu, Sigma) of sets of descriptors."""

    mean: Tensor  # [..., C]
    rows: Tensor  # [..., r, C]; rows^T rows is Sigma

    @property
    def covariance(self) -> Tensor:
        """Sigma, [..., C, C]."""
        return self.rows.transpose(-1, -2) @ self.rows


def gaussian(descriptors: Tensor) -> Gaussian:
    """The Gaussian of each set [..., r, C]; one descriptor alone has covariance 0."""
    mean = descriptors.mean(-2)
    return Gaussian(mean, (descriptors - mean[..., None, :]) / math.sqrt(max(1, descriptors.shape[-2] - 1)))


def kl_divergence(query: Gaussian, classes: Sequence[Gaussian], ridge: float = 0.01) -> Tensor:
    """KL(N_q || N_n) with `ridge` on the diagonal of both covariances, as in M2L's first version and in ADM.

    KL = (tr(S_n^-1 S_q) + (mu_q - mu_n)^T S_n^-1 (mu_q - mu_n) - C + log det S_n - log det S_q) / 2.

    Args:
        query: [T, Q], of r descriptors each.
        classes: the N classes' Gaussians, each [T].
        ridge: added to the diagonals; 0.01 in the authors' code.

    Returns:
        [T, Q, N], 0 or more up to rounding.
    """
    width, own = query.mean.shape[-1], _log_det(query.rows, ridge)
    return torch.stack([(_cross_terms(query, of, ridge) - width - own) / 2 for of in classes], dim=2)


def _cross_terms(query: Gaussian, of: Gaussian, ridge: float) -> Tensor:
    """tr(S_n^-1 S_q) + (mu_q - mu_n)^T S_n^-1 (mu_q - mu_n) + log det S_n for one class n, [T, Q].

    With S_n = L L^T both are squared lengths of L^-1 x: of the query's rows and, as one more row, of its mean's
    distance, plus the ridge's share of the trace.
    """
    factor = torch.linalg.cholesky(_ridged(of.covariance, ridge))  # [T, C, C]
    rows = torch.cat([query.rows, (query.mean - of.mean[:, None])[:, :, None]], dim=2)  # [T, Q, r + 1, C]
    whitened = torch.linalg.solve_triangular(factor, rows.flatten(1, 2).transpose(1, 2), upper=False)
    lengths = whitened.square().sum(1).unflatten(1, rows.shape[1:3]).sum(2)
    inverse = torch.linalg.solve_triangular(factor, torch.eye(factor.shape[-1]).to(factor), upper=False)
    constant = ridge * inverse.square().sum((1, 2)) + _half_log_det(factor) * 2
    return lengths + constant[:, None]


def wasserstein(query: Gaussian, classes: Sequence[Gaussian]) -> Tensor:
    """|mu_q - mu_n|^2 + |Sigma_q - Sigma_n|_F^2, [T, Q, N]: M2L's approximation of the squared 2-Wasserstein distance.

    In the distance itself the covariances' roots stand in their place, where the two commute.
    The code of M2L's first version differs from its paper: |mu_q - mu_n| / C + |Sigma_q - Sigma_n|_F / C^2.

    Args:
        query: [T, Q], of r descriptors each.
        classes: the N classes' Gaussians, each [T].
    """
    own = _smaller(query.rows).square().sum((-1, -2))
    found = []
    for of in classes:
        covariance = of.covariance  # [T, C, C]
        rows = query.rows.flatten(1, 2)
        inner = ((rows @ covariance) * rows).sum(2).unflatten(1, query.rows.shape[1:3]).sum(2)  # <Sigma_q, Sigma_n>
        spread = own + covariance.square().sum((1, 2))[:, None] - 2 * inner
        found.append((query.mean - of.mean[:, None]).square().sum(2) + spread.clamp(min=0))
    return torch.stack(found, dim=2)


def _log_det(rows: Tensor, ridge: float) -> Tensor:
    """log det(rows^T rows + ridge I), [...], from the smaller of both Gram matrices (Sylvester's identity)."""
    gram = _smaller(rows)
    left = rows.shape[-1] - gram.shape[-1]
    return 2 * _half_log_det(torch.linalg.cholesky(_ridged(gram, ridge))) + left * math.log(ridge)


def _smaller(rows: Tensor) -> Tensor:
    """rows rows^T or rows^T rows: their eigenvalues agree but for zeros."""
    swapped = rows.transpose(-1, -2)
    return rows @ swapped if rows.shape[-2] < rows.shape[-1] else swapped @ rows


def _ridged(matrix: Tensor, ridge: float) -> Tensor:
    return matrix + ridge * torch.eye(matrix.shape[-1]).to(matrix)


def _half_log_det(factor: Tensor) -> Tensor:
    """Half the log determinant of the matrix whose Cholesky factor this is."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
