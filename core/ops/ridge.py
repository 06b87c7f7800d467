"""Reconstruction of query descriptors from the rows of each class by ridge regression."""

from __future__ import annotations

import torch
from torch import Tensor


def reconstruction_error(query: Tensor, rows: Tensor, penalty: Tensor, scale: Tensor) -> Tensor:
    """Mean over positions of |q - scale * q S^T (S S^T + penalty I)^-1 S|^2.

    The matrix to invert is M x M or, in the equal form (S^T S + penalty I)^-1 S^T S, d x d, whichever is smaller. A row
    of zeros in S changes nothing, so classes with fewer rows can be padded. Systems are solved in float64.

    Args:
        query: [T, Q, r, d], r descriptors for each image.
        rows: [T, N, M, d], S of each class.
        penalty: [T, N], above 0.
        scale: a scalar.

    Returns:
        [T, Q, N].
    """
    form = _by_rows if rows.shape[2] <= rows.shape[3] else _by_channels
    return form(query, rows, penalty, scale)


def _by_rows(query: Tensor, rows: Tensor, penalty: Tensor, scale: Tensor) -> Tensor:
    """|q|^2 - b W b^T with b = q S^T, A = (S S^T + p I)^-1, W = (2 s - s^2) A + s^2 p A^2; no q is reconstructed."""
    gram = rows.double() @ rows.double().transpose(2, 3)
    inverse = _regularised_inverse(gram, penalty)
    p, s = penalty.double()[..., None, None], scale.double()
    weight = ((2 * s - s**2) * inverse + s**2 * p * inverse @ inverse).to(query.dtype)
    products = query.flatten(1, 2) @ rows.flatten(1, 2).transpose(1, 2)  # [T, Q r, N M]
    products = products.unflatten(2, rows.shape[1:3]).transpose(1, 2).contiguous()
    explained = ((products @ weight) * products).unflatten(2, query.shape[1:3]).sum((3, 4)).transpose(1, 2)
    return (query.square().sum((2, 3))[..., None] - explained) / query.shape[2]


def _by_channels(query: Tensor, rows: Tensor, penalty: Tensor, scale: Tensor) -> Tensor:
    """q R^2 q^T with R = I - s (S^T S + p I)^-1 S^T S = (1 - s) I + s p (S^T S + p I)^-1.

    Its sum over positions is the inner product of R^2 with sum_q q^T q, which is computed once for all classes.
    """
    gram = rows.double().transpose(2, 3) @ rows.double()
    p, s = penalty.double()[..., None, None], scale.double()
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    residual = (1 - s) * eye + s * p * _regularised_inverse(gram, penalty)
    form = (residual @ residual).to(query.dtype).flatten(2)  # [T, N, d d]
    scatter = (query.transpose(2, 3) @ query).flatten(2)  # [T, Q, d d]
    return scatter @ form.transpose(1, 2) / query.shape[2]


def _regularised_inverse(gram: Tensor, penalty: Tensor) -> Tensor:
    """(gram + penalty I)^-1 in float64: [T, N, n, n], [T, N]."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(gram + penalty.double()[..., None, None] * eye)
    return torch.cholesky_solve(eye.expand_as(gram), factor)
