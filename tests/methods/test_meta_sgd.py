"""Card 5, Meta-SGD: a learned rate for each number of the network."""

import pytest
import torch
import torch.nn.functional as F

from core.methods.maml import MAML
from core.methods.meta_sgd import MetaSGD
from tests.methods.inner import build, copied, descended, logits_of, pixels
from tests.methods.small import drawn


@pytest.mark.parametrize("steps", [1, 3])
def test_card_5_constant_rates_are_maml(steps):
    task = pixels()
    method, expected = build(MetaSGD, inner_lr=0.25, steps=steps), build(MAML, inner_lr=0.25, steps=steps)
    logits, same = method.train()(task), expected.train()(task)
    torch.testing.assert_close(logits, same, rtol=0, atol=1e-12)
    method.loss(task).value.backward()
    expected.loss(task).value.backward()
    for name, p in expected.named_parameters():
        torch.testing.assert_close(method.get_parameter(name).grad, p.grad, rtol=0, atol=1e-12)


def test_card_5_the_gradient_of_the_rates():
    """One step: d L / d alpha = -grad L_query(theta') * grad L_support(theta), number by number."""
    method, task = build(MetaSGD, inner_lr=0.25).train(), pixels(tasks=1)
    method.loss(task).value.backward()
    support, labels = task.support["image"][0], task.support_y[0]
    before, after = copied(method), descended(method, support, labels, 1, lambda name, step: 0.25)
    of_support = torch.autograd.grad(F.cross_entropy(logits_of(before, support), labels), list(before.parameters()))
    F.cross_entropy(logits_of(after, task.query["image"][0]), task.query_y[0]).backward()
    for (name, p), gradient in zip(after.named_parameters(), of_support, strict=True):
        torch.testing.assert_close(method.rates[name].grad, -p.grad * gradient, rtol=0, atol=1e-12)


def test_rates_act_on_their_own_numbers():
    method, task = build(MetaSGD, steps=2).train(), pixels(tasks=1)
    with torch.no_grad():
        for number, (name, p) in enumerate(method.network().items()):
            method.rates[name].copy_(drawn(*p.shape, seed=number))
    support, labels = task.support["image"][0], task.support_y[0]
    network = descended(method, support, labels, 2, lambda name, step: method.rates[name])
    torch.testing.assert_close(method(task)[0], logits_of(network, task.query["image"][0]), rtol=0, atol=1e-10)


def test_the_mean_rate_is_in_the_curves():
    assert build(MetaSGD, inner_lr=0.25).scalars() == {"inner_lr": 0.25}
