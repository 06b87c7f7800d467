"""Card 8: the descent on coefficients against the recipe of a cosine head, and its gradient against autograd."""

import torch
import torch.nn.functional as F

from core.ops.adapt import HeadSGD, fit_cosine_head
from core.ops.cosine_descent import CosineDescent
from tests.methods.small import drawn

WAY, SHOT, WIDTH = 3, 2, 7
LABELS = torch.arange(WAY).repeat_interleave(SHOT).expand(2, -1)


def learner(scale=8.0):
    return CosineDescent(drawn(2, WAY * SHOT, WIDTH), LABELS, WAY, scale)


def test_the_gradient_is_autograds():
    head = learner()
    head.descend(0.3 * drawn(2, WAY, WAY * SHOT, seed=5))
    rows = (head.rows @ head.support).requires_grad_()
    logits = 8.0 * F.normalize(head.support, dim=-1) @ F.normalize(rows, dim=-1).transpose(1, 2)
    F.cross_entropy(logits.flatten(0, 1), LABELS.flatten()).mul(2).backward()
    torch.testing.assert_close(head.gradient() @ head.support, rows.grad, rtol=0, atol=1e-12)


def test_card_8_constant_rates_are_the_fine_tuning_of_a_cosine_head_from_prototypes():
    head, query = learner(), drawn(2, 5, WIDTH, seed=1)
    means = head.support.unflatten(1, (WAY, SHOT)).mean(2)
    against = head.against(query)
    torch.testing.assert_close(head.rows @ head.support, means, rtol=0, atol=1e-12)
    for _ in range(9):
        head.descend(0.1 * head.gradient())
    sgd = HeadSGD(passes=9, batch=6, lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0)
    expected = fit_cosine_head(head.support, LABELS, means, torch.arange(2), 8.0, sgd)
    torch.testing.assert_close(head.logits(against), expected.logits(query), rtol=0, atol=1e-10)


def test_unequal_shots_start_at_their_means():
    support = drawn(1, 4, WIDTH)
    head = CosineDescent(support, torch.tensor([[0, 1, 1, 1]]), 2, 1.0)
    expected = torch.stack([support[0, 0], support[0, 1:].mean(0)])
    torch.testing.assert_close((head.rows @ support)[0], expected, rtol=0, atol=1e-12)


def test_a_support_of_length_0_has_cosine_0():
    support, labels = drawn(1, 4, 6), torch.tensor([[0, 0, 1, 1]])
    support[0, 0] = 0
    learner = CosineDescent(support, labels, 2, 8.0)
    for _ in range(3):
        learner.descend(0.1 * learner.gradient())
    without = CosineDescent(support[:, 1:], labels[:, 1:], 2, 8.0)
    without.rows = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.5]]], dtype=torch.float64)
    for _ in range(3):  # the gradient is a mean over one support fewer
        without.descend(0.1 * 3 / 4 * without.gradient())
    query = drawn(1, 3, 6, seed=1)
    logits = [one.logits(one.against(query)) for one in (learner, without)]
    torch.testing.assert_close(*logits)
