"""Reconstruction of query descriptors from the rows of each class by ridge regression."""

from __future__ import annotations

import torch
from torch import Tensor


def reconstruction_error(query: Tensor, rows: Tensor, penalty: Tensor, scale: Tensor) -> Tensor:
    """Mean over positions of |q - scale * q S^T (S S^T + penalty I)^-1 S|^2.

    The inverse is of M x M numbers or, in its other form (S^T S + penalty I)^-1 S^T S, of d x d, whichever is smaller.
    A row of zeros in S changes nothing, so classes with fewer rows can be padded. Systems are solved in float64.

    Args:
        query: [T, Q, r, d], r descriptors an image.
        rows: [T, N, M, d], S of each class.
        penalty: [T, N], above 0.
        scale: a scalar.

    Returns:
        [T, Q, N].
    """
    form = _by_rows if rows.shape[2] <= rows.shape[3] else _by_channels
    return form(query, rows, penalty, scale)


def _by_rows(query: Tensor, rows: Tensor, penalty: Tensor, scale: Tensor) -> Tensor:
    """|q|^2 - b W b^T with b = q S^T, A = (S S^T + p I)^-1, W = (2 s - s^2) A + s^2 p A^2; nothing is reconstructed."""
    gram = rows.double() @ rows.double().transpose(2, 3)
    inverse = _regularised_inverse(gram, penalty)
    p, s = penalty.double()[..., None, None], scale.double()
    weight = ((2 * s - s**2) * inverse + s**2 * p * inverse @ inverse).to(query.dtype)
    flat = query.flatten(1, 2)[:, None]  # [T, 1, Q r, d]
    products = flat @ rows.transpose(2, 3)  # [T, N, Q r, M]
    explained = ((products @ weight) * products).sum(-1)
    return _positions_averaged(flat.square().sum(-1) - explained, query)


def _by_channels(query: Tensor, rows: Tensor, penalty: Tensor, scale: Tensor) -> Tensor:
    """|q R|^2 with R = I - s (S^T S + p I)^-1 S^T S = (1 - s) I + s p (S^T S + p I)^-1."""
    gram = rows.double().transpose(2, 3) @ rows.double()
    p, s = penalty.double()[..., None, None], scale.double()
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    residual = ((1 - s) * eye + s * p * _regularised_inverse(gram, penalty)).to(query.dtype)
    return _positions_averaged((query.flatten(1, 2)[:, None] @ residual).square().sum(-1), query)


def _regularised_inverse(gram: Tensor, penalty: Tensor) -> Tensor:
    """(gram + penalty I)^-1 in float64: [T, N, n, n], [T, N]."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(gram + penalty.double()[..., None, None] * eye)
    return torch.cholesky_solve(eye.expand_as(gram), factor)


def _positions_averaged(errors: Tensor, query: Tensor) -> Tensor:
    """[T, N, Q r] to [T, Q, N]."""
    return errors.unflatten(2, query.shape[1:3]).mean(3).transpose(1, 2)
