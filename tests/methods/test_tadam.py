"""TADAM against its equations, one image at a time."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.conv4 import Conv4
from core.backbones.resnet12 import ResNet12
from core.backbones.resnet12t import ResNet12T
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.protonet import ProtoNet
from core.methods.tadam import TADAM, SkipLayers
from core.ops import random
from core.ops.groups import class_mean
from tests.helpers import make_task
from tests.methods.small import drawn

INFO = DataInfo(n_base=6, image_size=16, way=3)


def tadam(backbone=None, **options):
    torch.manual_seed(0)
    return TADAM(backbone or ResNet12T(16, "native", width=3), INFO, **options).double()


def pixel_task(tasks=2, way=3, shot=2, queries=6):
    support, query = drawn(tasks, way * shot, 3, 16, 16), drawn(tasks, queries, 3, 16, 16, seed=1)
    return make_task({"image": support}, {"image": query}, way, shot)


@pytest.mark.parametrize("network", [Conv4, ResNet12T])
def test_tadam(network):
    method = tadam(network(16, "native", width=3)).eval()
    task = pixel_task()
    nn.init.normal_(method.condition.multipliers)
    logits = method(task)
    for t in range(2):
        plain = method.backbone(task.support["image"][t])["vector"]
        prototypes = torch.stack([plain[2 * n : 2 * n + 2].mean(0) for n in range(3)])
        embedding = prototypes.mean(0)
        film = []
        for (gain, offset), (g0, b0) in zip(method.condition.networks, method.condition.multipliers, strict=True):
            gamma, beta = (
                (lambda h: (lambda k: k + net.last(k))(F.silu(h + net.middle(h))))(F.silu(net.project(embedding)))
                for net in (gain, offset)
            )
            film.append((1 + g0 * gamma, b0 * beta))

        def conditioned(image, film=film):
            return method.backbone(image[None], [(g[None], b[None]) for g, b in film])["vector"][0]

        shots = torch.stack([conditioned(image) for image in task.support["image"][t]])
        for q, image in enumerate(task.query["image"][t]):
            for n in range(3):
                distance = (conditioned(image) - shots[2 * n : 2 * n + 2].mean(0)).norm()
                assert logits[t, q, n].item() == pytest.approx(-7.5 * distance.item(), abs=1e-8)


def test_tadam_starts_as_a_scaled_protonet():
    method, task = tadam(scale=3.0).eval(), pixel_task()
    vectors = task.encoded(lambda pixels: {"vector": method._vectors(pixels["image"])})
    expected = ProtoNet(method.backbone, INFO, metric="euclidean", scale=3.0)(vectors)
    torch.testing.assert_close(method(task), expected)
    assert class_mean(vectors, "vector").shape == (2, 3, 24)


def test_tadam_in_blocks_of_tasks(monkeypatch):
    method, task = tadam().eval(), pixel_task(tasks=5)
    nn.init.normal_(method.condition.multipliers)
    with torch.no_grad():
        whole = method(task)
        monkeypatch.setattr("core.methods.tadam.PIXELS_AT_ONCE", 16 * 16 * 12 * 2)
        torch.testing.assert_close(method(task), whole)


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.9), (0.049, 0.9), (0.05, 0.81), (0.99, 0.9**20)])
def test_tadam_weighs_its_auxiliary_task(progress, weight):
    method = tadam().eval()
    batch = Batch({"image": drawn(4, 3, 16, 16)}, torch.tensor([0, 5, 2, 2]), progress)
    logits = method.classifier(method.backbone(batch.inputs["image"])["vector"])
    torch.testing.assert_close(method.loss(batch).value, weight * F.cross_entropy(logits, batch.labels))


def test_a_chance_is_the_same_whatever_the_process_has_drawn():
    method = tadam(auxiliary_by="chance").eval()
    batches = [Batch({"image": drawn(4, 3, 16, 16)}, torch.tensor([0, 5, 2, 2]), 0.5, seed=step) for step in range(9)]
    chances = []
    for rank in range(2):
        torch.manual_seed(rank)
        chances.append([method.loss(batch).value.item() > 0 for batch in batches])
    assert chances[0] == chances[1]
    assert len(set(chances[0])) == 2


@pytest.mark.parametrize("progress", [0.0, 0.5])
def test_tadam_draws_its_auxiliary_task_by_chance(progress):
    method = tadam(auxiliary_by="chance").eval()
    batch = Batch({"image": drawn(4, 3, 16, 16)}, torch.tensor([0, 5, 2, 2]), progress)
    full = F.cross_entropy(method.classifier(method.backbone(batch.inputs["image"])["vector"]), batch.labels).item()
    losses = [method.loss(replace(batch, seed=random.key(step))).value for step in range(200)]
    assert {round(loss.item(), 6) for loss in losses} == {0.0, round(full, 6)}
    assert all(loss.requires_grad == (loss.item() > 0) for loss in losses)
    share = sum(loss.item() > 0 for loss in losses) / 200
    assert share == pytest.approx(0.9 ** (1 + int(20 * progress)), abs=0.08)


def test_tadam_learns_its_multipliers_under_a_decay_of_their_own():
    method, task = tadam(multiplier_decay=0.3).train(), pixel_task()
    rest, multipliers = method.param_groups(0.1)
    assert [p is method.condition.multipliers for p in multipliers["params"]] == [True]
    assert multipliers["weight_decay"] == 0.3
    assert len(rest["params"]) == len(list(method.parameters())) - 1
    method.loss(task).value.backward()
    assert method.condition.multipliers.grad.abs().sum() > 0


def test_tadam_refuses_a_backbone_that_no_task_conditions():
    with pytest.raises(
        UserError, match=r"^METHOD\.NAME is TADAM, which changes .* ResNet12 has no place for that; choose"
    ):
        tadam(ResNet12(16, "native"))


def test_skip_layers_have_the_width_of_the_convolution():
    assert SkipLayers(5, 3)(torch.zeros(2, 5)).shape == (2, 3)
