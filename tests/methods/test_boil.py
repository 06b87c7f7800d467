"""Card 3, BOIL: the body adapts and the head does not."""

import pytest
import torch
import torch.nn.functional as F

from core.methods.boil import BOIL
from tests.methods.inner import build, descended, logits_of, pixels, slope
from tests.methods.small import drawn

LR = 0.5


def body_only(name, step):
    return LR if name.startswith("backbone.") else 0.0


def outer_loss(method, task, steps):
    logits = [
        logits_of(descended(method, support, labels, steps, body_only), query)
        for support, labels, query in zip(task.support["image"], task.support_y, task.query["image"], strict=True)
    ]
    return F.cross_entropy(torch.cat(logits), task.query_y.flatten())


@pytest.mark.parametrize("steps", [1, 3])
def test_logits_are_those_of_the_adapted_body(steps):
    method, task = build(BOIL, steps=steps).train(), pixels()
    logits = method(task)
    for t, (support, labels) in enumerate(zip(task.support["image"], task.support_y, strict=True)):
        network = descended(method, support, labels, steps, body_only)
        torch.testing.assert_close(logits[t], logits_of(network, task.query["image"][t]), rtol=0, atol=1e-10)


def test_card_3_the_head_is_the_same_before_and_after_adaptation():
    method, task = build(BOIL, steps=2).train(), pixels(tasks=1)
    before, *_, after = method.descend(task.support["image"][0], task.support_y[0], learn=True)
    assert {name for name in after if torch.equal(before[name], after[name])} == {"head.weight", "head.bias"}


def test_the_gradient_is_second_order():
    method, task = build(BOIL, steps=2).train(), pixels()
    method.loss(task).value.backward()
    for number, p in enumerate(method.parameters()):
        direction = drawn(*p.shape, seed=number + 5)
        expected = slope(method, lambda: outer_loss(method, task, 2), p, direction)
        assert float((p.grad * direction).sum()) == pytest.approx(expected, abs=1e-7)


def test_card_3_first_order_takes_the_inner_gradients_as_constants():
    method, task = build(BOIL, steps=2, first_order=True).train(), pixels(tasks=1)
    method.loss(task).value.backward()
    network = descended(method, task.support["image"][0], task.support_y[0], 2, body_only)
    F.cross_entropy(logits_of(network, task.query["image"][0]), task.query_y[0]).backward()
    for name, p in network.named_parameters():
        torch.testing.assert_close(method.get_parameter(name).grad, p.grad, rtol=0, atol=1e-11)
