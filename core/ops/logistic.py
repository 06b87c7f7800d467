"""Logistic regression for T tasks at once, by Newton's method in the span of the supports."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from core.ops.adapt import Head


def fit_logistic(
    support: Tensor, labels: Tensor, way: int, inverse_penalty: float = 1.0, steps: int = 30, tolerance: float = 1e-8
) -> Head:
    """Minimise |W|^2 / 2 + C * sum_i CE(W z_i + b, y_i) for each task; the bias b is not penalised.

    This is what scikit-learn's LogisticRegression(C=C) solves. The rows of the minimiser are combinations of the
    supports, so with K = Z Z^T = L L^T the rows of L stand for the supports, and the system has N (n + 1) unknowns
    whatever the width. Computed in float64.

    Args:
        support: [T, n, d].
        labels: [T, n] in 0..N-1.
        way: N.
        inverse_penalty: C.
        steps: Newton steps at most.
        tolerance: largest entry of the gradient at which it stops.
    """
    z = support.double()
    gram = z @ z.transpose(1, 2)
    size = gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    root = torch.linalg.cholesky(gram + 1e-10 * size * torch.eye(z.shape[1], dtype=z.dtype, device=z.device))
    inputs = F.pad(root, (0, 1), value=1.0)  # [T, n, n + 1], the last column for the bias
    target = F.one_hot(labels, way).to(z.dtype)
    penalty = torch.ones(inputs.shape[2], dtype=z.dtype, device=z.device)
    penalty[-1] = 0
    rows = z.new_zeros(len(z), way, inputs.shape[2])
    for _ in range(steps):
        probability = (inputs @ rows.transpose(1, 2)).softmax(-1)
        gradient = inverse_penalty * (probability - target).transpose(1, 2) @ inputs + penalty * rows
        if gradient.abs().max() < tolerance:
            break
        rows = rows - _newton_step(gradient, probability, inputs, penalty, inverse_penalty)
    coefficients = torch.linalg.solve_triangular(root.transpose(1, 2), rows[..., :-1].transpose(1, 2), upper=True)
    weight = coefficients.transpose(1, 2) @ z
    return Head(weight.to(support.dtype), 1.0, cosine=False, bias=rows[..., -1].to(support.dtype))


def _newton_step(
    gradient: Tensor, probability: Tensor, inputs: Tensor, penalty: Tensor, inverse_penalty: float
) -> Tensor:
    """Hessian^-1 gradient, [T, N, n + 1]; a common shift of the biases, which changes nothing, is held by 1e-6."""
    tasks, way, width = gradient.shape
    curvature = torch.diag_embed(probability) - probability[..., :, None] * probability[..., None, :]
    weighted = torch.einsum("tijk,tia->tjkia", inverse_penalty * curvature, inputs)
    hessian = torch.einsum("tjkia,tib->tjakb", weighted, inputs).reshape(tasks, way * width, way * width)
    hessian.diagonal(dim1=1, dim2=2).add_((penalty + 1e-6 * (penalty == 0)).repeat(way))
    factor = torch.linalg.cholesky(hessian)
    return torch.cholesky_solve(gradient.reshape(tasks, -1, 1), factor).view_as(gradient)
