"""The distance as a layer: its gradients against finite differences, its shapes, and what it refuses."""

import math

import pytest
import torch

from core.errors import UserError
from core.ops.emd.distance import emd, emd_logits
from core.ops.emd.solvers import solver_named
from tests.ops.emd.problems import EXACT, drawn, problems


def test_leading_axes():
    cost, a, b = (part.unflatten(0, (2, 3)) for part in problems(6, 4, 5))
    value, flow, u, v = emd(cost, a, b)
    assert [tuple(part.shape) for part in (value, flow, u, v)] == [(2, 3), (2, 3, 4, 5), (2, 3, 4), (2, 3, 5)]
    assert value[1, 2] == emd(cost[1, 2], a[1, 2], b[1, 2])[0]


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 6)])
def test_gradients_through_similarities_and_both_weights(solver, n, m):
    similarity, rows, columns = 1 - drawn(3, n, m), drawn(3, n, seed=1) + 0.1, drawn(3, m, seed=2) + 0.1
    inputs = [part.requires_grad_() for part in (similarity, rows, columns)]
    logits = lambda s, w1, w2: emd_logits(s, (w1, w2), 12.5, solver_named(solver))  # noqa: E731
    assert torch.autograd.gradcheck(logits, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


def test_the_gradient_of_the_quadratic_problem():
    cost, a, b = problems(3, 5, 6)
    solve = solver_named("interior_point", l2_strength=0.3)
    value = lambda s, w1, w2: emd_logits(s, (w1, w2), 1.0, solve)  # noqa: E731
    inputs = [part.requires_grad_() for part in (1 - cost, a, b)]
    assert torch.autograd.gradcheck(value, inputs, eps=1e-5, atol=1e-5, rtol=1e-4)


def test_weights_can_be_constants():
    similarity, rows, columns = drawn(2, 5, 5).requires_grad_(), drawn(2, 5).requires_grad_(), drawn(2, 5, seed=1)
    emd_logits(similarity, (rows, columns), weight_grad=False).sum().backward()
    assert similarity.grad.abs().sum() > 0
    assert rows.grad is None


def test_logits_are_the_similarity_of_the_flow():
    similarity, (rows, columns) = drawn(4, 6, 6), (drawn(4, 6, seed=1), drawn(4, 6, seed=2))
    a, b = 6 * rows / rows.sum(1, keepdim=True), 6 * columns / columns.sum(1, keepdim=True)
    flow = emd(1 - similarity, a, b)[1]
    expected = 12.5 / 6 * (similarity * flow).sum((1, 2))
    torch.testing.assert_close(emd_logits(similarity, (rows, columns)), expected)


def test_single_precision_stays_single():
    cost, a, b = (part.float() for part in problems(3, 25, 25))
    optimum = emd(cost, a, b)
    assert {part.dtype for part in optimum} == {torch.float32}
    torch.testing.assert_close(optimum[0].double(), emd(cost.double(), a.double(), b.double())[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c, a, b: a[0].fill_(math.nan), "row weights that are negative or NaN"),
        (lambda c, a, b: b[0, :1].fill_(-1), "column weights that are negative or NaN"),
        (lambda c, a, b: c[0].fill_(math.inf), "costs that are not finite"),
        (lambda c, a, b: b[0].fill_(0), "weights on one side only"),
    ],
)
def test_impossible_problems_are_refused(change, words):
    problem = problems(2, 4, 4)
    change(*problem)
    with pytest.raises(UserError, match=words):
        emd(*problem)


@pytest.mark.gpu
def test_the_layer_serves_a_gpu():
    problem = problems(30, 25, 25)
    on_gpu = [part.cuda() for part in problem]
    for solver in EXACT:
        optimum = emd(*on_gpu, solver_named(solver))
        for part, expected in zip(optimum, emd(*problem, solver_named(solver)), strict=True):
            torch.testing.assert_close(part.cpu(), expected, rtol=0, atol=1e-6)
