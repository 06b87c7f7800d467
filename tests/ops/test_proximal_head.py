"""Card 6, head form: the exact minimum against Newton's method on the weights, one task at a time."""

import pytest
import torch
import torch.nn.functional as F

from core.ops.proximal_head import proximal_logits
from tests.methods.small import drawn

WAY, WIDTH = 3, 5


def problem(tasks=2, shot=2, length=3.0):
    support, query = length * drawn(tasks, WAY * shot, WIDTH), drawn(tasks, 4, WIDTH, seed=1)
    labels = torch.arange(WAY).repeat_interleave(shot).expand(tasks, -1)
    return support, labels, query, drawn(WAY, WIDTH, seed=2), drawn(WAY, seed=3)


def newton(support, labels, query, weight, bias, penalty):
    """One task: rows and biases as one vector."""
    start = torch.cat([weight, bias[:, None]], 1).flatten()
    z, q = (F.pad(x, (0, 1), value=1.0) for x in (support, query))

    def loss(flat):
        fit = F.cross_entropy(z @ flat.view(WAY, -1).T, labels)
        return fit + penalty / 2 * (flat - start).square().sum()

    flat = start
    for _ in range(60):
        slope = torch.func.grad(loss)(flat)
        step = torch.linalg.solve(torch.autograd.functional.hessian(loss, flat), slope)
        length = 1.0
        while loss(flat - length * step) > loss(flat) and length > 1e-9:
            length /= 2
        flat = flat - length * step
    return q @ flat.view(WAY, -1).T


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 2.0])
@pytest.mark.parametrize("length", [1.0, 30.0])
def test_card_6_the_head_is_the_exact_minimum(penalty, length):
    data = problem(length=length)
    support, labels, query, *start = data
    expected = torch.stack([newton(*row, *start, penalty) for row in zip(support, labels, query, strict=True)])
    torch.testing.assert_close(proximal_logits(*data, penalty), expected, rtol=1e-6, atol=1e-6)


def test_card_6_the_implicit_gradient_of_the_head():
    support, labels, *rest = problem()
    leaves = [x.clone().requires_grad_() for x in (support, *rest)]

    def logits(support, query, weight, bias):
        return proximal_logits(support, labels, query, weight, bias, 0.1)

    assert torch.autograd.gradcheck(logits, leaves)


def test_card_6_a_large_penalty_leaves_the_initial_head():
    data = problem()
    torch.testing.assert_close(proximal_logits(*data, 1e9), F.linear(*data[2:]), rtol=0, atol=1e-6)


def test_tasks_at_once_equal_tasks_alone():
    support, labels, query, *start = problem(tasks=4)
    support = support * torch.tensor([0.1, 1.0, 5.0, 20.0], dtype=torch.float64)[:, None, None]
    together = proximal_logits(support, labels, query, *start, 0.01)
    alone = [proximal_logits(support[t : t + 1], labels[t : t + 1], query[t : t + 1], *start, 0.01) for t in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-9)
