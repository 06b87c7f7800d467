"""Closed-form heads against NumPy's solutions in the d unknowns of a row, a task and a class at a time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from core.ops.closed_form import fit_reweighted, fit_ridge, gram_matrix, head_of
from tests.methods.small import close, drawn


def cases(tasks=2, supports=6, width=4, way=3):
    return drawn(tasks, supports, width), drawn(tasks, supports, way, seed=1), drawn(tasks, 5, width, seed=2)


def primal(x, y, penalty):
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)


@pytest.mark.parametrize("width", [2, 6, 9])
@pytest.mark.parametrize("bias", [False, True])
def test_ridge_solves_the_equations_in_d_unknowns(width, bias):
    support, target, query = cases(width=width)
    logits = fit_ridge(support, target, 0.8, bias).logits(query)
    for t in range(2):
        x, q = (np.pad(v[t].numpy(), ((0, 0), (0, int(bias))), constant_values=1) for v in (support, query))
        close(logits[t], q @ primal(x, target[t].numpy(), 0.8))


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


def one_hot(labels, way=3):
    return F.one_hot(labels, way).double()


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_reweighted_regression_takes_newtons_steps(passes):
    """A class and a task at a time, in the d unknowns of a row."""
    support, _, query = cases()
    labels = torch.tensor([[0, 1, 1, 2, 0, 2], [2, 1, 0, 0, 1, 2]])
    logits = fit_reweighted(support, labels, 3, 0.8, passes).logits(query)
    for t in range(2):
        x, q = (np.pad(v[t].numpy(), ((0, 0), (0, 1)), constant_values=1) for v in (support, query))
        for n in range(3):
            y, w = (labels[t] == n).double().numpy(), np.zeros(x.shape[1])
            for _ in range(passes):
                mu = 1 / (1 + np.exp(-x @ w))
                s = mu * (1 - mu)
                slope = x.T @ (mu - y) + 0.8 * w
                w = w - np.linalg.solve(x.T @ (s[:, None] * x) + 0.8 * np.eye(len(w)), slope)
            close(logits[t, :, n], q @ w)


def test_reweighted_regression_converges_to_scikit_learns():
    support, _, query = cases(supports=9)
    labels = torch.arange(3).repeat(3).expand(2, -1)
    logits = fit_reweighted(support, labels, 3, 0.5, 12).logits(query)
    for t in range(2):
        x, q = (np.pad(v[t].numpy(), ((0, 0), (0, 1)), constant_values=1) for v in (support, query))
        for n in range(3):
            fitted = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-12, max_iter=10_000).fit(x, labels[t] == n)
            np.testing.assert_allclose(logits[t, :, n], fitted.decision_function(q), rtol=0, atol=1e-5)


def test_reweighted_regression_has_exact_gradients():
    support, _, query = cases()
    labels = torch.arange(3).repeat(2).expand(2, -1)
    leaves = [x.requires_grad_() for x in (support, query)]
    assert torch.autograd.gradcheck(lambda x, q: fit_reweighted(x, labels, 3, 0.8, 3).logits(q), leaves)


def test_reweighted_regression_survives_supports_that_are_classified_with_certainty():
    support, _, query = cases()
    head = fit_reweighted(1e4 * support, torch.arange(3).repeat(2).expand(2, -1), 3, 1e-3, 8)
    assert head.logits(query).isfinite().all()
