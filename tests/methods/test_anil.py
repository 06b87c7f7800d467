"""Card 3, ANIL: features stay, the head descends."""

import copy

import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.anil import ANIL
from tests.methods.small import conv4, drawn, task_of

INFO = DataInfo(n_base=6, image_size=16, way=3)
WIDTH = 7


def anil(**options):
    torch.manual_seed(0)
    method = ANIL(conv4(WIDTH), INFO, **options).double()
    return method


def plain_logits(method, support, labels, query, steps, lr):
    """One task: autograd on the weights of the head, step by step, with the graph of all steps."""
    weight, bias = method.head.weight, method.head.bias
    for _ in range(steps):
        loss = F.cross_entropy(F.linear(support, weight, bias), labels)
        of_weight, of_bias = torch.autograd.grad(loss, (weight, bias), create_graph=True)
        weight, bias = weight - lr * of_weight, bias - lr * of_bias
    return F.linear(query, weight, bias)


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("training", [True, False])
def test_logits_and_gradients_are_those_of_descent_on_the_weights(steps, training):
    method = anil(inner_lr=0.2, steps=steps, test_steps=steps).train(training)
    task = task_of(WIDTH)
    leaves = [task.support["vector"].requires_grad_(), task.query["vector"].requires_grad_(), *method.head.parameters()]
    output = method(task)
    rows = zip(task.support["vector"], task.support_y, task.query["vector"], strict=True)
    expected = torch.stack([plain_logits(method, *row, steps, 0.2) for row in rows])
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(F.cross_entropy(logits.flatten(0, 1), task.query_y.flatten()), leaves, allow_unused=True)
        for logits in (output, expected)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, rtol=0, atol=1e-12)


def test_card_3_one_step_from_zero_is_a_scaled_prototype_classifier():
    """W = lr mean_i (y_i - 1/N) z_i, so logits are lr / N * (q c_n - q mean_m c_m); the biases stay 0."""
    method, task = anil(inner_lr=0.3, steps=1).train(), task_of(WIDTH)
    torch.nn.init.zeros_(method.head.weight)
    torch.nn.init.zeros_(method.head.bias)
    means = task.support["vector"].unflatten(1, (3, 2)).mean(2)
    expected = 0.1 * task.query["vector"] @ (means - means.mean(1, keepdim=True)).transpose(1, 2)
    torch.testing.assert_close(method(task), expected, rtol=0, atol=1e-12)


def test_card_3_no_step_gives_the_initial_heads_logits():
    method, task = anil(test_steps=0).eval(), task_of(WIDTH)
    torch.testing.assert_close(method(task), method.head(task.query["vector"]))


def test_card_3_the_body_is_the_same_before_and_after_adaptation():
    method, images = anil().eval(), drawn(1, 6, 3, 16, 16)
    before = copy.deepcopy(method.state_dict())
    features = method.encode({"image": images})["vector"]
    method(task_of(WIDTH))
    assert torch.equal(features, method.encode({"image": images})["vector"])
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_card_3_first_order_takes_the_inner_gradients_as_constants():
    method, task = anil(inner_lr=0.2, steps=3, first_order=True).train(), task_of(WIDTH, tasks=1)
    support, query = task.support["vector"].requires_grad_(), task.query["vector"].requires_grad_()
    method.loss(task).value.backward()
    last = copy.deepcopy(method.head)
    for _ in range(3):
        gradients = torch.autograd.grad(
            F.cross_entropy(last(support[0].detach()), task.support_y[0]), last.parameters()
        )
        with torch.no_grad():
            for p, gradient in zip(last.parameters(), gradients, strict=True):
                p -= 0.2 * gradient
    last.zero_grad()
    of_query = query.detach().clone().requires_grad_()
    F.cross_entropy(last(of_query[0]), task.query_y[0]).backward()
    torch.testing.assert_close(method.head.weight.grad, last.weight.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(method.head.bias.grad, last.bias.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(query.grad, of_query.grad, rtol=0, atol=1e-12)
    assert support.grad is None
