"""Closed-form heads against NumPy's solutions in the d unknowns of a row, a task and a class at a time."""

import numpy as np
import pytest
import torch

from core.ops.closed_form import fit_ridge, gram_matrix, head_of
from tests.methods.small import close, drawn


def cases(tasks=2, supports=6, width=4, way=3):
    return drawn(tasks, supports, width), drawn(tasks, supports, way, seed=1), drawn(tasks, 5, width, seed=2)


def primal(x, y, penalty):
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)


@pytest.mark.parametrize("width", [2, 6, 9])
@pytest.mark.parametrize("bias", [False, True])
def test_ridge_solves_the_equations_in_d_unknowns(width, bias):
    support, target, query = cases(width=width)
    found = fit_ridge(support, target, 0.8, bias).logits(query)
    for t in range(2):
        x, q = (np.pad(v[t].numpy(), ((0, 0), (0, int(bias))), constant_values=1) for v in (support, query))
        close(found[t], q @ primal(x, target[t].numpy(), 0.8))


@pytest.mark.parametrize("bias", [False, True])
def test_ridge_has_exact_gradients(bias):
    support, target, query = cases()
    leaves = [x.requires_grad_() for x in (support, target, query)]
    assert torch.autograd.gradcheck(lambda x, y, q: fit_ridge(x, y, 0.8, bias).logits(q), leaves)


def test_ridge_of_tasks_at_once_is_that_of_tasks_alone():
    support, target, query = cases()
    together = fit_ridge(support, target, 0.8).logits(query)
    alone = [fit_ridge(support[t : t + 1], target[t : t + 1], 0.8).logits(query[t : t + 1]) for t in range(2)]
    close(together, torch.cat(alone).numpy())


def test_the_head_of_coefficients_scores_by_the_supports():
    support, coefficients, query = cases()
    plain = query @ support.transpose(1, 2) @ coefficients
    close(head_of(coefficients, support).logits(query), plain.numpy())
    biased = (query @ support.transpose(1, 2) + 1) @ coefficients
    close(head_of(coefficients, support, bias=True).logits(query), biased.numpy())
    assert gram_matrix(support.float(), bias=True).dtype == torch.float64
