"""Ridge regression with a free intercept and a penalty that each task chooses from a grid by exact leave-one-out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .adapt import Head


def fit_ridge_grid(support: Tensor, labels: Tensor, way: int, penalties: Sequence[float], fallback: float) -> Head:
    """Minimise sum_i |W z_i + b - y_i|^2 + penalty |W|^2 for each task, y one-hot; b is not penalised.

    With J = I - 1 1^T / n and G = J Z Z^T J the coefficients of the supports are A = (G + penalty I)^-1 J Y.

    Args:
        support: Z, [T, n, d].
        labels: [T, n] in 0..N-1.
        way: N.
        penalties: that a task chooses from, see `leave_one_out`; empty = `fallback` for all.
        fallback: where a task cannot choose, since no class has a second support.
    """
    target = F.one_hot(labels, way).double()
    centred = (support - support.mean(1, keepdim=True)).double()
    gram, aim = centred @ centred.transpose(1, 2), target - target.mean(1, keepdim=True)
    penalty = chosen_penalty(gram.detach(), aim, target, penalties, fallback)[:, None, None]
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    coefficients = torch.cholesky_solve(aim, torch.linalg.cholesky(gram + penalty * eye))
    weight = coefficients.transpose(1, 2) @ centred
    bias = target.mean(1) - (weight @ support.double().mean(1)[..., None])[..., 0]
    return Head(weight.to(support.dtype), 1.0, cosine=False, bias=bias.to(support.dtype))


def chosen_penalty(gram: Tensor, aim: Tensor, target: Tensor, penalties: Sequence[float], fallback: float) -> Tensor:
    """The penalty of each task, [T]: that of the smallest leave-one-out error, the larger one of equals.

    A support that is the only one of its class does not count: without it there is no such class.
    """
    counted = (target.sum(1, keepdim=True) * target).sum(2) > 1  # [T, n]
    tasks = len(gram)
    if not penalties:
        return gram.new_full((tasks,), fallback)
    grid = sorted(penalties, reverse=True)
    errors = leave_one_out(gram, aim, grid).square().sum(3)  # [T, P, n]
    best = (errors * counted[:, None]).sum(2).argmin(1)
    choice = gram.new_tensor(grid)[best]
    return torch.where(counted.any(1), choice, choice.new_tensor(fallback))


def leave_one_out(gram: Tensor, aim: Tensor, penalties: Sequence[float]) -> Tensor:
    """y_i minus the prediction of the regression fitted without support i, for every penalty: [T, P, n, N].

    It is A_i / (sum_k q_ik^2 / (e_k + p) - 1 / (n p)) for G = q e q^T: the residual p A_i over 1 - H_ii, where the hat
    matrix H = 1 1^T / n + G (G + p I)^-1 has the intercept in it.
    """
    values, vectors = torch.linalg.eigh(gram)
    p = gram.new_tensor(penalties)[:, None]  # [P, 1]
    shrunk = 1 / (values.clamp(min=0)[:, None] + p)  # [T, P, n]
    turned = vectors.transpose(1, 2) @ aim  # [T, n, N]
    coefficients = vectors[:, None] @ (shrunk[..., None] * turned[:, None])
    residual_shares = (vectors.square()[:, None] @ shrunk[..., None])[..., 0] - 1 / (gram.shape[1] * p)
    return coefficients / residual_shares[..., None]
