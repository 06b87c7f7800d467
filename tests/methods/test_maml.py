"""MAML against copies of the network that descend one task at a time."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import Backbone, ConvBN
from core.episode import DataInfo
from core.errors import UserError
from core.methods.maml import MAML
from tests.helpers import make_task
from tests.methods.small import (
    conv4,
    drawn,
)

INFO = DataInfo(n_base=6, image_size=16, way=3)
WAY, LR = 3, 0.3


class Smooth(Backbone):
    """Differentiable everywhere, for finite differences."""

    channels, map_size = 3, 8

    def __init__(self):
        super().__init__("mean")
        self.layers = nn.Sequential(ConvBN(3, 3, 3, bias=True, norm="batch"), nn.Tanh())

    def maps(self, images):
        return self.layers(images)


def maml(backbone=None, **options):
    torch.manual_seed(0)
    return MAML(backbone or Smooth(), INFO, inner_lr=LR, **options).double()


def pixels(tasks=2, shot=2, queries=6, size=8):
    support, query = drawn(tasks, WAY * shot, 3, size, size), drawn(tasks, queries, 3, size, size, seed=1)
    return make_task({"image": support}, {"image": query}, WAY, shot)


def adapted(method, support, labels, steps):
    """A copy of the network after plain gradient descent on the supports."""
    network = nn.ModuleDict({"backbone": copy.deepcopy(method.backbone), "head": copy.deepcopy(method.head)})
    for _ in range(steps):
        loss = F.cross_entropy(network["head"](network["backbone"](support)["vector"]), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, g in zip(network.parameters(), gradients, strict=True):
                p -= LR * g
    return network


def networks(method, task, steps):
    return [adapted(method, s, y, steps) for s, y in zip(task.support["image"], task.support_y, strict=True)]


def query_logits(network, query):
    return network["head"](network["backbone"](query)["vector"])


def outer_loss(method, task, steps):
    logits = [query_logits(n, q) for n, q in zip(networks(method, task, steps), task.query["image"], strict=True)]
    return F.cross_entropy(torch.cat(logits), task.query_y.flatten())


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("training", [True, False])
def test_maml_logits_are_those_of_the_adapted_network(steps, training):
    options = {"steps": steps, "test_steps": 9} if training else {"steps": 9, "test_steps": steps}
    method = maml(conv4(4, norm="batch"), **options).train(training)
    task = pixels(size=16)
    logits = method(task)
    for t, network in enumerate(networks(method, task, steps)):
        assert torch.allclose(logits[t], query_logits(network, task.query["image"][t]), rtol=0, atol=1e-10)
    assert torch.allclose(method.loss(task).value, outer_loss(method, task, steps), rtol=0, atol=1e-10)


def test_maml_adapts_without_gradients_and_leaves_its_weights():
    method, task = maml(test_steps=3).eval(), pixels()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    expected = method(task)
    with torch.no_grad():
        logits = method(task)
    assert not logits.requires_grad
    assert torch.allclose(logits, expected, rtol=0, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())


@pytest.mark.parametrize("steps", [1, 3])
def test_maml_gradient_is_second_order(steps):
    method, task = maml(steps=steps).train(), pixels()
    method.loss(task).value.backward()
    epsilon = 1e-5
    for number, p in enumerate(method.parameters()):
        direction = drawn(*p.shape, seed=number + 5)
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                p += sign * epsilon * direction
            sides.append(outer_loss(method, task, steps).item())
            with torch.no_grad():
                p -= sign * epsilon * direction
        slope = (p.grad * direction).sum().item()
        assert slope == pytest.approx((sides[0] - sides[1]) / (2 * epsilon), abs=1e-7)


@pytest.mark.parametrize("steps", [1, 3])
def test_maml_first_order_gradient_is_the_adapted_networks(steps):
    method, task = maml(steps=steps, first_order=True).train(), pixels()
    method.loss(task).value.backward()
    copies = networks(method, task, steps)
    logits = [query_logits(n, q) for n, q in zip(copies, task.query["image"], strict=True)]
    F.cross_entropy(torch.cat(logits), task.query_y.flatten()).backward()
    second = maml(steps=steps).train()
    second.loss(task).value.backward()
    for name, p in method.named_parameters():
        expected = sum(network.get_parameter(name).grad for network in copies)
        assert torch.allclose(p.grad, expected, rtol=0, atol=1e-11)
    # A bias before batch-norm has no gradient in either form.
    pairs = zip(method.named_parameters(), second.parameters(), strict=True)
    differing = {name for (name, p), q in pairs if not torch.allclose(p.grad, q.grad, rtol=0, atol=1e-4)}
    assert differing == {name for name, _ in method.named_parameters()} - {"backbone.layers.0.0.bias"}


def test_maml_refuses_another_way():
    task = make_task({"image": drawn(1, 4, 3, 8, 8)}, {"image": drawn(1, 4, 3, 8, 8)}, 4, 1)
    with pytest.raises(UserError, match=r"^TASK\.TEST\.WAY is 4, but this MAML was trained with a head of 3 classes; "):
        maml()(task)


def test_maml_refuses_running_statistics():
    with pytest.raises(UserError, match=r"set BACKBONE\.ARGS\.norm to batch\.$"):
        MAML(conv4(4), INFO)
