"""Heads in closed form for T tasks at once, in the span of the supports: cost grows with n^3, never with d^3.

A row of such a head is a combination of the supports, w_m = sum_i A_im x_i. So only the Gram matrix of the supports is
factored, [T, n, n], in float64; with a bias each support has one more entry, 1, that is penalised like the others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .adapt import Head

LEAST_WEIGHT = 1e-6  # of a support that is classified with certainty


def fit_ridge(support: Tensor, target: Tensor, penalty: float, bias: bool = False) -> Head:
    """Minimise sum_i |W x_i - y_i|^2 + penalty |W|^2 for each task: A = (X X^T + penalty I)^-1 Y.

    Args:
        support: [T, n, d].
        target: Y, [T, n, N].
        penalty: above 0.
        bias: whether W has a column for an entry 1 of each support.
    """
    gram = gram_matrix(support, bias)
    gram.diagonal(dim1=1, dim2=2).add_(penalty)
    coefficients = torch.cholesky_solve(target.to(gram.dtype), torch.linalg.cholesky(gram))
    return head_of(coefficients, support, bias)


def fit_reweighted(support: Tensor, labels: Tensor, way: int, penalty: float, passes: int) -> Head:
    """A logistic regression for each class against the others, by `passes` of iteratively reweighted least squares.

    Each minimises sum_i log(1 + exp(-+ w x_i)) + penalty / 2 |w|^2 with a penalised bias. A pass is Newton's step: from
    scores eta, with mu = sigmoid(eta) and s = mu (1 - mu), it fits eta + (y - mu) / s by ridge regression with weights
    s, A = (K + penalty diag(1 / s))^-1 (eta + (y - mu) / s).

    Args:
        support: [T, n, d].
        labels: [T, n] in 0..N-1.
        way: N.
        penalty: above 0.
        passes: 1 or more; the first starts from eta = 0.
    """
    gram = gram_matrix(support, bias=True)
    target = F.one_hot(labels, way).transpose(1, 2).to(gram.dtype)  # [T, N, n]
    scores = torch.zeros_like(target)
    for _ in range(passes):
        probability = scores.sigmoid()
        weight = (probability * (1 - probability)).clamp(min=LEAST_WEIGHT)
        goal = scores + (target - probability) / weight
        factor = torch.linalg.cholesky(gram[:, None] + torch.diag_embed(penalty / weight))
        coefficients = torch.cholesky_solve(goal[..., None], factor)[..., 0]
        scores = coefficients @ gram
    return head_of(coefficients.transpose(1, 2), support, bias=True)


def gram_matrix(support: Tensor, bias: bool = False) -> Tensor:
    """X X^T [T, n, n] in float64, plus 1 where each support has an entry for the bias."""
    gram = (support @ support.transpose(1, 2)).double()
    return gram + 1 if bias else gram


def head_of(coefficients: Tensor, support: Tensor, bias: bool = False) -> Head:
    """The head with rows sum_i A_im x_i, for coefficients A [T, n, N]."""
    coefficients = coefficients.to(support.dtype)
    weight = coefficients.transpose(1, 2) @ support
    return Head(weight, 1.0, cosine=False, bias=coefficients.sum(1) if bias else None)
