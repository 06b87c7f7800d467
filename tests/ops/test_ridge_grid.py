"""Ridge regression with a free intercept: the fit, exact leave-one-out, and the choice of a penalty."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from core.ops.ridge_grid import chosen_penalty, fit_ridge_grid, leave_one_out
from tests.methods.small import drawn

GRID = [0.03, 0.3, 3.0]
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])


def parts(support, labels=LABELS, way=3):
    target = F.one_hot(labels, way).double().expand(len(support), -1, -1)
    centred = support - support.mean(1, keepdim=True)
    return centred @ centred.transpose(1, 2), target - target.mean(1, keepdim=True), target


def refitted(x, y, i, penalty):
    """The error on support i of a regression without it."""
    rest = np.arange(len(x)) != i
    return y[i] - Ridge(alpha=penalty).fit(x[rest], y[rest]).predict(x[i : i + 1])[0]


@pytest.mark.parametrize("width", [4, 20])
def test_the_fit_is_scikit_learns(width):
    support, query = drawn(2, 8, width), drawn(2, 5, width, seed=1)
    head = fit_ridge_grid(support, LABELS.expand(2, -1), 3, [0.7], 1.0)
    for t in range(2):
        y = F.one_hot(LABELS, 3).double().numpy()
        expected = Ridge(alpha=0.7).fit(support[t].numpy(), y).predict(query[t].numpy())
        torch.testing.assert_close(head.logits(query)[t], torch.from_numpy(expected), rtol=0, atol=1e-10)


@pytest.mark.parametrize("width", [4, 20])
def test_leave_one_out_equals_fits_without_each_support(width):
    support = drawn(2, 8, width)
    gram, aim, target = parts(support)
    errors = leave_one_out(gram, aim, GRID)
    for t in range(2):
        for p, penalty in enumerate(GRID):
            for i in range(8):
                expected = refitted(support[t].numpy(), target[t].numpy(), i, penalty)
                np.testing.assert_allclose(errors[t, p, i].numpy(), expected, atol=1e-9)


def test_each_task_takes_the_penalty_of_the_smallest_error():
    support = torch.cat([drawn(3, 8, 6), 5 * F.one_hot(LABELS, 6).double()[None] + 0.01 * drawn(1, 8, 6)])
    gram, aim, target = parts(support)
    penalties = chosen_penalty(gram, aim, target, GRID, 9.0)
    totals = np.array(
        [
            [sum((refitted(x.numpy(), y.numpy(), i, p) ** 2).sum() for i in range(8)) for p in GRID]
            for x, y in zip(support, target, strict=True)
        ]
    )
    assert penalties.tolist() == [GRID[best] for best in totals.argmin(1)]
    assert len(set(penalties.tolist())) > 1  # noise asks for more shrinkage than clean classes


def test_a_lone_support_does_not_count_and_one_shot_takes_the_fallback():
    support = drawn(1, 4, 6)
    labels = torch.tensor([0, 0, 1, 2])
    gram, aim, target = parts(support, labels)
    totals = [sum((refitted(support[0].numpy(), target[0].numpy(), i, p) ** 2).sum() for i in (0, 1)) for p in GRID]
    assert chosen_penalty(gram, aim, target, GRID, 9.0).item() == GRID[int(np.argmin(totals))]
    one_shot = parts(drawn(2, 3, 6), torch.arange(3))
    assert chosen_penalty(*one_shot, GRID, 9.0).tolist() == [9.0, 9.0]
    assert chosen_penalty(gram, aim, target, [], 9.0).tolist() == [9.0]


def test_gradients_reach_supports_and_queries():
    support, query = drawn(1, 8, 4).requires_grad_(), drawn(1, 2, 4, seed=1).requires_grad_()

    def logits(s, q):
        return fit_ridge_grid(s, LABELS[None], 3, [0.5], 1.0).logits(q)

    assert torch.autograd.gradcheck(logits, (support, query))
