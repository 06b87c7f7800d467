"""Card 7, MTL: scales and shifts on a frozen network, and a head that descends."""

import copy

import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.baseline import Baseline
from core.methods.mtl import MTL
from tests.helpers import make_task
from tests.methods.small import conv4, drawn, task_of

INFO = DataInfo(n_base=6, image_size=16, way=3)


def mtl(**options):
    torch.manual_seed(0)
    return MTL(conv4(7), INFO, **options).double()


def last_head(method, support, labels, steps, lr):
    """The head of one task after autograd's steps on constant features."""
    head = copy.deepcopy(method.head)
    for _ in range(steps):
        gradients = torch.autograd.grad(F.cross_entropy(head(support.detach()), labels), head.parameters())
        with torch.no_grad():
            for p, gradient in zip(head.parameters(), gradients, strict=True):
                p -= lr * gradient
    return head


@pytest.mark.parametrize("steps", [1, 20])
def test_card_7_the_gradient_of_the_first_head_is_that_of_the_last(steps):
    method, task = mtl(inner_lr=0.1, steps=steps).train(), task_of(7)
    query = task.query["vector"].requires_grad_()
    loss = method.loss(task).value
    loss.backward()
    heads = [last_head(method, s, y, steps, 0.1) for s, y in zip(task.support["vector"], task.support_y, strict=True)]
    expected = torch.stack([head(q) for head, q in zip(heads, query, strict=True)])
    torch.testing.assert_close(method(task), expected, rtol=0, atol=1e-12)
    of_query = torch.autograd.grad(F.cross_entropy(expected.flatten(0, 1), task.query_y.flatten()), query)[0]
    torch.testing.assert_close(query.grad, of_query, rtol=0, atol=1e-12)
    for head in heads:
        head.zero_grad()
    again = torch.stack([head(q.detach()) for head, q in zip(heads, query, strict=True)])
    F.cross_entropy(again.flatten(0, 1), task.query_y.flatten()).backward()
    torch.testing.assert_close(method.head.weight.grad, sum(head.weight.grad for head in heads), rtol=0, atol=1e-12)
    torch.testing.assert_close(method.head.bias.grad, sum(head.bias.grad for head in heads), rtol=0, atol=1e-12)


def test_card_7_no_step_is_the_plain_linear_head():
    method, task = mtl(steps=0).eval(), task_of(7)
    torch.testing.assert_close(method(task), method.head(task.query["vector"]), rtol=0, atol=1e-12)


def test_the_network_learns_from_the_queries_alone_and_its_kernels_stay():
    method = mtl(steps=5).train()
    images = {"image": drawn(1, 6, 3, 16, 16)}, {"image": drawn(1, 6, 3, 16, 16, seed=1)}
    task = make_task(*images, 3, 2).encoded(method.encode)
    support, query = task.support["vector"], task.query["vector"]
    support.retain_grad()
    query.retain_grad()
    method.loss(task).value.backward()
    assert support.grad is None
    assert query.grad.abs().sum() > 0
    for name, p in method.backbone.named_parameters():
        frozen = name.endswith((".0.weight", ".0.bias"))
        assert p.requires_grad is not frozen, name
        assert (p.grad is None) == frozen, name
    assert method.backbone.layers[0][0].scale.grad.abs().sum() > 0


def test_it_starts_as_the_pretrained_network():
    torch.manual_seed(1)
    base = Baseline(conv4(7, seed=3), INFO)
    method = mtl().float()
    line = method.start_from(base)
    assert line == "the previous stage's backbone: 28 matched, 8 missing, 0 unexpected"
    images = drawn(2, 3, 16, 16).float()
    expected = base.eval().backbone(images)["vector"]
    assert torch.equal(method.eval().encode({"image": images})["vector"], expected)


def test_the_initial_head_learns_faster():
    method = mtl()
    network, head = method.param_groups(1e-4)
    assert (network["lr"], head["lr"]) == (1e-4, pytest.approx(1e-3))
    assert {id(p) for p in head["params"]} == {id(p) for p in method.head.parameters()}
