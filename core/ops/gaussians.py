"""Gaussians of local descriptors, and distances between that of an image and that of a class.

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
    """The Gaussian N(mu, Sigma) of each set of descriptors."""

    mean: Tensor  # [..., C]
    rows: Tensor  # [..., r, C]; rows^T rows is Sigma

    @property
    def covariance(self) -> Tensor:
        """Sigma, [..., C, C]."""
        return self.rows.transpose(-1, -2) @ self.rows

    def double(self) -> Gaussian:
        """The same Gaussian in float64."""
        return Gaussian(self.mean.double(), self.rows.double())


def gaussian(descriptors: Tensor) -> Gaussian:
    """The Gaussian of each set of r descriptors [..., r, C]; where r is 1, the covariance is 0."""
    mean = descriptors.mean(-2)
    return Gaussian(mean, (descriptors - mean[..., None, :]) / math.sqrt(max(1, descriptors.shape[-2] - 1)))


def kl_divergence(query: Gaussian, classes: Sequence[Gaussian], ridge: float = 0.01) -> Tensor:
    """KL(N_q || N_n) with `ridge` on the diagonal of both covariances, as in M2L's first version and in ADM.

    KL = (tr(S_n^-1 S_q) + (mu_q - mu_n)^T S_n^-1 (mu_q - mu_n) - C + log det S_n - log det S_q) / 2, in float64: beside
    large features float32 loses the ridge, and a covariance is then no longer positive definite.

    Args:
        query: [T, Q], of r descriptors each.
        classes: the N classes' Gaussians, each [T].
        ridge: added to the diagonals; 0.01 in the authors' code.

    Returns:
        [T, Q, N], 0 or more up to rounding.
    """
    exact, width = query.double(), query.mean.shape[-1]
    log_det = _log_det(exact.rows, ridge)
    divergences = [(_cross_terms(exact, one.double(), ridge) - width - log_det) / 2 for one in classes]
    return torch.stack(divergences, dim=2).to(query.mean.dtype)


def _cross_terms(query: Gaussian, one_class: Gaussian, ridge: float) -> Tensor:
    """tr(S_n^-1 S_q) + (mu_q - mu_n)^T S_n^-1 (mu_q - mu_n) + log det S_n for one class n, [T, Q].

    With S_n = L L^T the first two terms are sums of |L^-1 x|^2: x runs over the query's rows and, as one more row, the
    difference of the means. The ridge adds its share of the trace.
    """
    factor = torch.linalg.cholesky(_ridged(one_class.covariance, ridge))  # [T, C, C]
    rows = torch.cat([query.rows, (query.mean - one_class.mean[:, None])[:, :, None]], dim=2)  # [T, Q, r + 1, C]
    whitened = torch.linalg.solve_triangular(factor, rows.flatten(1, 2).transpose(1, 2), upper=False)
    lengths = whitened.square().sum(1).unflatten(1, rows.shape[1:3]).sum(2)
    inverse = torch.linalg.solve_triangular(factor, torch.eye(factor.shape[-1]).to(factor), upper=False)
    constant = ridge * inverse.square().sum((1, 2)) + _half_log_det(factor) * 2
    return lengths + constant[:, None]


def wasserstein(query: Gaussian, classes: Sequence[Gaussian]) -> Tensor:
    """|mu_q - mu_n|^2 + |Sigma_q - Sigma_n|_F^2, [T, Q, N]: M2L's approximation of the squared 2-Wasserstein distance.

    The distance itself, where the two covariances commute, has their square roots in the second term.
    The code of M2L's first version differs from its paper: |mu_q - mu_n| / C + |Sigma_q - Sigma_n|_F / C^2.

    Args:
        query: [T, Q], of r descriptors each.
        classes: the N classes' Gaussians, each [T].
    """
    query_square = _smaller_gram(query.rows).square().sum((-1, -2))  # |Sigma_q|_F^2
    distances = []
    for one_class in classes:
        covariance = one_class.covariance  # [T, C, C]
        rows = query.rows.flatten(1, 2)
        inner = ((rows @ covariance) * rows).sum(2).unflatten(1, query.rows.shape[1:3]).sum(2)  # <Sigma_q, Sigma_n>
        spread = query_square + covariance.square().sum((1, 2))[:, None] - 2 * inner
        means = (query.mean - one_class.mean[:, None]).square().sum(2)
        distances.append(means + spread.clamp(min=0))
    return torch.stack(distances, dim=2)


def _log_det(rows: Tensor, ridge: float) -> Tensor:
    """log det(rows^T rows + ridge I), [...], from the smaller of the two Gram matrices (Sylvester's identity)."""
    gram = _smaller_gram(rows)
    null = rows.shape[-1] - gram.shape[-1]
    return 2 * _half_log_det(torch.linalg.cholesky(_ridged(gram, ridge))) + null * math.log(ridge)


def _smaller_gram(rows: Tensor) -> Tensor:
    """The smaller of rows rows^T and rows^T rows, which have the same eigenvalues apart from zeros."""
    swapped = rows.transpose(-1, -2)
    return rows @ swapped if rows.shape[-2] < rows.shape[-1] else swapped @ rows


def _ridged(matrix: Tensor, ridge: float) -> Tensor:
    return matrix + ridge * torch.eye(matrix.shape[-1]).to(matrix)


def _half_log_det(factor: Tensor) -> Tensor:
    """Half the log determinant of the matrix whose Cholesky factor this is."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
