"""Methods against their papers' equations, written as loops in float64."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import Backbone, ConvBN
from core.backbones.conv4 import Conv4
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.maml import MAML
from core.methods.negmargin import NegMargin
from core.methods.protonet import ProtoNet
from core.objectives.negmargin import NegMarginLoss
from core.ops import random
from tests.helpers import make_task

INFO = DataInfo(n_base=6, image_size=16, way=3)
WAY, LR = 3, 0.3


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_conv4(**options):
    torch.manual_seed(0)
    return Conv4(16, "native", width=4, **options)


# --- ProtoNet -----------------------------------------------------------------------------------------------------


def prototype_logits(support, labels, query, way, scale):
    """One task: lists of vectors and labels to [Q][N]."""
    prototypes = []
    for n in range(way):
        members = [z for z, y in zip(support, labels, strict=True) if y == n]
        prototypes.append([math.fsum(column) / len(members) for column in zip(*members, strict=True)])
    return [[-scale * math.fsum((a - b) ** 2 for a, b in zip(q, c, strict=True)) for c in prototypes] for q in query]


@pytest.mark.parametrize("shot", [1, 2, 5])
@pytest.mark.parametrize("scale", [1.0, 1 / 64])
def test_protonet(shot, scale):
    method = ProtoNet(small_conv4(), INFO, scale=scale)
    support, query = drawn(2, 4 * shot, 7), drawn(2, 8, 7, seed=1)
    task = make_task({"vector": support}, {"vector": query}, 4, shot)
    expected = [
        prototype_logits(s, y, q, 4, scale)
        for s, y, q in zip(support.tolist(), task.support_y.tolist(), query.tolist(), strict=True)
    ]
    assert np.allclose(method(task).numpy(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("counts", [[1, 4, 2], [3, 3, 3], [5, 1, 1]])
def test_protonet_with_unequal_shots(counts):
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))[None]
    support, query = drawn(1, sum(counts), 7), drawn(1, 6, 7, seed=1)
    task = make_task({"vector": support}, {"vector": query}, 3, None, labels)
    expected = prototype_logits(support[0].tolist(), labels[0].tolist(), query[0].tolist(), 3, 1.0)
    assert np.allclose(ProtoNet(small_conv4(), INFO)(task).numpy()[0], expected, rtol=0, atol=1e-11)


# --- NegMargin ----------------------------------------------------------------------------------------------------


def test_negmargin_base_logits_and_loss():
    method = NegMargin(small_conv4(), INFO, scale=20.0).double()
    method.objective = NegMarginLoss(margin=-0.3)
    z, labels = drawn(5, 4) * 3, torch.tensor([0, 5, 2, 2, 1])
    rows = method.classifier.weight.detach().tolist()
    expected, losses = [], []
    for vector, y in zip(z.tolist(), labels.tolist(), strict=True):
        dots = [math.fsum(a * b for a, b in zip(vector, row, strict=True)) for row in rows]
        cosines = [dot / math.hypot(*vector) / math.hypot(*row) for dot, row in zip(dots, rows, strict=True)]
        expected.append([20 * a for a in cosines])
        own = math.exp(20 * (cosines[y] + 0.3))
        losses.append(-math.log(own / (own + math.fsum(math.exp(20 * a) for j, a in enumerate(cosines) if j != y))))
    batch = Batch({"vector": z}, labels)
    assert np.allclose(method.batch_logits(batch).detach().numpy(), expected, rtol=0, atol=1e-11)
    assert method.loss(batch).item() == pytest.approx(math.fsum(losses) / 5, abs=1e-11)


def test_negmargin_rows_start_uniformly_within_the_inverse_root_of_the_width():
    weight = NegMargin(Conv4(32, "native"), DataInfo(n_base=64, image_size=32)).classifier.weight.detach()
    assert weight.shape == (64, 256)
    assert 0.99 / 16 < weight.abs().max() <= 1 / 16
    assert weight.std().item() == pytest.approx(1 / 16 / 3**0.5, rel=0.02)


@pytest.mark.parametrize("shot", [1, 5])
def test_negmargin_fine_tunes_a_head_for_each_episode(shot):
    method = NegMargin(small_conv4(), INFO, head_passes=8, scale=20.0)
    method.objective = NegMarginLoss(margin=-0.3)
    support, query = drawn(2, 3 * shot, 6), drawn(2, 9, 6, seed=1)
    task = make_task({"vector": support.float()}, {"vector": query.float()}, 3, shot, seed=40)
    found = method(task).double()
    for t in range(2):
        start = (random.uniform(task.seed[t], "head", (3, 6)).double() * 2 - 1) / math.sqrt(6)
        head = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([head], lr=0.01, momentum=0.9, dampening=0.9, weight_decay=1e-3)
        for seed in random.hashes(task.seed[t], "head-passes", 8):
            for ids in random.permutation(seed, "order", 3 * shot).split(4):
                logits = 5 * F.normalize(support[t, ids], dim=1) @ F.normalize(head, dim=1).T
                (gradient,) = torch.autograd.grad(F.cross_entropy(logits, task.support_y[t, ids]), head)
                head.grad = gradient
                optimizer.step()
        expected = 5 * F.normalize(query[t], dim=1) @ F.normalize(head, dim=1).T
        assert torch.allclose(found[t], expected, rtol=0, atol=1e-5)


# --- MAML ---------------------------------------------------------------------------------------------------------


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
    method = maml(small_conv4(norm="batch"), **options).train(training)
    task = pixels(size=16)
    found = method(task)
    for t, network in enumerate(networks(method, task, steps)):
        assert torch.allclose(found[t], query_logits(network, task.query["image"][t]), rtol=0, atol=1e-10)
    assert torch.allclose(method.loss(task), outer_loss(method, task, steps), rtol=0, atol=1e-10)


def test_maml_adapts_without_gradients_and_leaves_its_weights():
    method, task = maml(test_steps=3).eval(), pixels()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    expected = method(task)
    with torch.no_grad():
        found = method(task)
    assert not found.requires_grad
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())


@pytest.mark.parametrize("steps", [1, 3])
def test_maml_gradient_is_second_order(steps):
    method, task = maml(steps=steps).train(), pixels()
    method.loss(task).backward()
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
        found = (p.grad * direction).sum().item()
        assert found == pytest.approx((sides[0] - sides[1]) / (2 * epsilon), abs=1e-7)


@pytest.mark.parametrize("steps", [1, 3])
def test_maml_first_order_gradient_is_the_adapted_networks(steps):
    method, task = maml(steps=steps, first_order=True).train(), pixels()
    method.loss(task).backward()
    copies = networks(method, task, steps)
    logits = [query_logits(n, q) for n, q in zip(copies, task.query["image"], strict=True)]
    F.cross_entropy(torch.cat(logits), task.query_y.flatten()).backward()
    second = maml(steps=steps).train()
    second.loss(task).backward()
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
        MAML(small_conv4(), INFO)
