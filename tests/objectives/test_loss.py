"""Weighted sums of losses: value, answers and measurements."""

import torch

from core.objectives.loss import Loss, Scalar, weighted_sum


def loss(value, logits, y, **scalars):
    return Loss(torch.tensor(value), torch.tensor(logits), torch.tensor(y), scalars)


def test_a_weighted_sum_adds_values_and_keeps_the_answers_and_measurements_of_every_part():
    one = loss(2.0, [[1.0, 0.0]], [0], margin=Scalar(torch.tensor(3.0), "max"))
    two = loss(5.0, [[1.0, 0.0]], [1], margin=Scalar(torch.tensor([4.0, 1.0]), "max"))
    summed = weighted_sum([one, two], [1.0, 0.5])
    assert summed.value == 4.5
    assert (summed.logits.argmax(-1) == summed.y).tolist() == [[True], [False]]
    value, over = summed.scalars["margin"]
    assert (value.tolist(), over) == ([3.0, 4.0, 1.0], "max")


def test_the_gradient_of_a_weighted_sum():
    x = torch.tensor(3.0, requires_grad=True)
    parts = [Loss(x * x, torch.zeros(1, 2), torch.zeros(1)), Loss(2 * x, torch.zeros(1, 2), torch.zeros(1))]
    weighted_sum(parts, [0.5, 10.0]).value.backward()
    assert x.grad == 0.5 * 6 + 10 * 2
