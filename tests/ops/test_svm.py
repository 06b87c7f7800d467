"""Support vector machines against independent solvers, and their gradient. Card 1 of the specifications."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize

from core.errors import UserError
from core.ops import svm
from core.ops.svm import fit_svm, svm_duals
from tests.methods.small import drawn
from tests.parity.closed_form_equations import dense_svm

CASES = [(3, 2, 4, 0.1), (2, 4, 3, 0.1), (5, 1, 6, 0.1), (4, 3, 20, 1.0), (3, 2, 4, 0.01)]  # way, shot, width, C


def problem(way, shot, width, tasks=2, size=1.0):
    x = size * drawn(tasks, way * shot, width)
    labels = torch.arange(way).repeat_interleave(shot).expand(tasks, -1)
    return x, x @ x.transpose(1, 2), F.one_hot(labels, way).double()


def by_scipy(gram, y, bound):
    """The duals by sequential quadratic programming on what each wrong class takes from the right one."""
    n, way = y.shape
    matrix, wrong = gram + np.eye(n), y == 0

    def duals(taken):
        a = np.zeros((n, way))
        a[wrong] = -taken
        a[~wrong] = taken.reshape(n, way - 1).sum(1)
        return a

    def value(taken):
        a = duals(taken)
        slope = matrix @ a - y
        by_taken = slope[~wrong].repeat(way - 1) - slope[wrong]
        return (a * (matrix @ a)).sum() / 2 - (a * y).sum(), by_taken

    each = np.kron(np.eye(n), np.ones((1, way - 1)))
    room = {"type": "ineq", "fun": lambda taken: bound - each @ taken, "jac": lambda taken: -each}
    start = np.full(n * (way - 1), bound / (2 * way))
    settings = {"bounds": [(0, None)] * len(start), "constraints": [room], "options": {"ftol": 1e-16, "maxiter": 500}}
    solution = minimize(value, start, jac=True, method="SLSQP", **settings)
    return duals(solution.x)


@pytest.mark.parametrize(("way", "shot", "width", "bound"), CASES)
def test_the_duals_are_those_of_an_independent_solver(way, shot, width, bound):
    _, gram, y = problem(way, shot, width)
    duals = svm_duals(gram, y, bound)
    for t in range(2):
        np.testing.assert_allclose(duals[t], by_scipy(gram[t].numpy(), y[t].numpy(), bound), rtol=0, atol=1e-6)


# Upper triangles of X X^T of five supports that a Conv4 encodes. On the first, in training, Mehrotra's steps repeat
# every four and never end; on the second, at test, three careful passes do not yet lower the residual of 2e-5.
HARD = [
    [
        *(542.4237060546875, 496.4446105957031, 410.0006103515625, 192.14834594726562, 134.86526489257812),
        *(501.499755859375, 366.59521484375, 180.64268493652344, 153.067626953125),
        *(380.1449279785156, 217.22879028320312, 157.65048217773438),
        *(243.2966766357422, 170.22622680664062, 218.74334716796875),
    ],
    [
        *(1153.8, 124.6, 492.4, 147.0, 152.2),
        *(277.0, 195.7, 239.4, 229.1),
        *(381.7, 178.8, 185.4),
        *(260.3, 243.4, 289.5),
    ],
]


@pytest.mark.parametrize("upper", HARD, ids=["circles", "late"])
def test_problems_on_which_the_residual_does_not_always_fall(upper):
    gram = torch.zeros(5, 5, dtype=torch.float64)
    gram[tuple(torch.triu_indices(5, 5))] = torch.tensor(upper, dtype=torch.float64)
    gram = gram + gram.triu(1).T
    y = torch.eye(5, dtype=torch.float64)
    duals = svm_duals(gram[None], y[None], 0.1)
    np.testing.assert_allclose(duals[0], by_scipy(gram.numpy(), y.numpy(), 0.1), rtol=0, atol=1e-6)
    matrix = (gram + torch.eye(5))[None]
    by_torch = svm._solve(matrix, y[None], 0.1, 0)
    torch.testing.assert_close(by_torch[0], duals.transpose(1, 2), rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("passes", [1, 2, 3, 5, 25])
def test_passes_are_those_of_the_dense_program(passes, size):
    """`iterations` of the published test: the point that qpth returns after so many passes."""
    _, gram, y = problem(4, 3, 5, size=size)
    duals = svm_duals(gram, y, 0.1, passes)
    for t in range(2):
        torch.testing.assert_close(duals[t], dense_svm(gram[t], y[t], 0.1, passes), rtol=0, atol=1e-8)
    if passes == 25:
        torch.testing.assert_close(duals, svm_duals(gram, y, 0.1), rtol=0, atol=1e-8)


@pytest.mark.parametrize("k", [1.0, 15.0, 60.0])
@pytest.mark.parametrize("way", [2, 5])
def test_card_1_test_2_orthogonal_supports_have_a_closed_form(k, way):
    """A_iy = min(C, (N - 1) / (N (k + 1))), the others -A_iy / (N - 1)."""
    y = F.one_hot(torch.arange(way).repeat_interleave(2), way)[None]
    duals = svm_duals(k * torch.eye(2 * way).double()[None], y, 0.1)
    dual = min(0.1, (way - 1) / (way * (k + 1)))
    torch.testing.assert_close(duals, dual * (y.double() - (1 - y.double()) / (way - 1)), rtol=0, atol=1e-8)


def test_card_1_test_3_two_classes_are_the_binary_machine_without_a_bias():
    """a = A_iy is where the slope of a^T (2 (K + I) s s^T) a / 2 - sum a, cut to 0 <= a <= C, vanishes."""
    _, gram, y = problem(2, 6, 3, tasks=4)
    a, sign = (svm_duals(gram, y, 0.1) * y).sum(2), y[..., 0] - y[..., 1]
    kernel = 2 * (gram + torch.eye(12)) * sign[:, :, None] * sign[:, None]
    slope = (kernel @ a[..., None])[..., 0] - 1
    torch.testing.assert_close((a - slope).clamp(0, 0.1), a, rtol=0, atol=1e-8)


def test_card_1_test_4_a_support_with_zeros_can_be_removed():
    x, _, y = problem(3, 8, 4, tasks=1)
    x = x + 4 * (y @ drawn(1, 3, 4, seed=5))  # classes apart
    duals = svm_duals(x @ x.transpose(1, 2), y, 0.1)
    kept = duals[0].abs().amax(1) > 1e-9
    assert 3 <= kept.sum() <= 20
    fewer = svm_duals(x[:, kept] @ x[:, kept].transpose(1, 2), y[:, kept], 0.1)
    torch.testing.assert_close(fewer.transpose(1, 2) @ x[:, kept], duals.transpose(1, 2) @ x, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("way", "shot", "width", "bound"), CASES)
def test_card_1_test_5_gradients_by_finite_differences(way, shot, width, bound):
    x, _, y = problem(way, shot, width)

    def duals(x):
        return svm_duals(x @ x.transpose(1, 2), y, bound)

    assert torch.autograd.gradcheck(duals, x.requires_grad_(), eps=1e-6, atol=1e-5)


def test_tasks_at_once_are_tasks_alone():
    x, _, y = problem(5, 3, 8, tasks=3)
    x = x * torch.tensor([0.01, 1.0, 20.0])[:, None, None]
    labels = y.argmax(2)
    together = fit_svm(x, labels, 5, 0.1).weight
    alone = [fit_svm(x[t : t + 1], labels[t : t + 1], 5, 0.1).weight for t in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_single_precision_features_keep_their_type():
    x, _, y = problem(3, 2, 4)
    single = fit_svm(x.float(), y.argmax(2), 3, 0.1).weight
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), fit_svm(x, y.argmax(2), 3, 0.1).weight, rtol=0, atol=1e-5)


def test_what_cannot_be_solved_is_one_sentence():
    _, gram, y = problem(3, 2, 4)
    with pytest.raises(UserError, match=r"^The support vector machines of 1 of 2 tasks cannot be solved"):
        svm_duals(gram * torch.tensor([1.0, torch.nan])[:, None, None], y, 0.1)
