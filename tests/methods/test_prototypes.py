"""ProtoNet's metrics, AM3 and TADAM against their papers' equations, written as loops in float64."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.conv4 import Conv4
from core.backbones.resnet12 import ResNet12
from core.backbones.resnet12t import ResNet12T
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.am3 import AM3
from core.methods.protonet import ProtoNet
from core.methods.tadam import TADAM, SkipLayers
from core.objectives.margins import TaskRelevantMargin
from core.ops.groups import class_mean
from tests.helpers import make_task

WORDS = torch.randn(6, 9, generator=torch.Generator().manual_seed(3))
INFO = DataInfo(n_base=6, image_size=16, way=3, semantics=WORDS)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def conv4():
    torch.manual_seed(0)
    return Conv4(16, "native", width=7)


def vector_task(tasks=2, way=3, shot=2, queries=6):
    support, query = drawn(tasks, way * shot, 7), drawn(tasks, queries, 7, seed=1)
    task = make_task({"vector": support}, {"vector": query}, way, shot)
    object.__setattr__(task, "semantics", drawn(tasks, way, 9, seed=2))
    return task


def similarity(q, v, metric):
    squared = math.fsum((a - b) ** 2 for a, b in zip(q, v, strict=True))
    dot = math.fsum(a * b for a, b in zip(q, v, strict=True))
    return {"squared": -squared, "euclidean": -math.sqrt(squared), "cosine": dot / math.hypot(*q) / math.hypot(*v)}[
        metric
    ]


@pytest.mark.parametrize("metric", ["squared", "euclidean", "cosine"])
@pytest.mark.parametrize("learn_scale", [False, True])
def test_metrics_of_protonet(metric, learn_scale):
    method = ProtoNet(conv4(), INFO, metric=metric, scale=2.5, learn_scale=learn_scale)
    task = vector_task()
    prototypes = task.support["vector"].view(2, 3, 2, 7).mean(2).tolist()
    expected = [
        [[2.5 * similarity(q, c, metric) for c in cs] for q in qs]
        for qs, cs in zip(task.query["vector"].tolist(), prototypes, strict=True)
    ]
    found = method(task)
    assert np.allclose(found.detach().numpy(), expected, rtol=0, atol=1e-6)
    assert method.cosine_logits == (metric == "cosine")
    assert found.requires_grad == learn_scale
    assert method.scalars() == ({"scale": 2.5} if learn_scale else {})


def test_unknown_metric_is_a_sentence():
    with pytest.raises(
        UserError, match=r"^METHOD\.ARGS\.metric is 'l1', which is not one of: euclidean, squared, cosine"
    ):
        ProtoNet(conv4(), INFO, metric="l1")


def test_a_query_on_its_prototype_has_a_finite_gradient():
    method = ProtoNet(conv4(), INFO, metric="euclidean")
    task = vector_task(shot=1, queries=3)
    query = task.support["vector"].clone().requires_grad_()
    task = make_task(task.support, {"vector": query}, 3, 1)
    method.loss(task).backward()
    assert query.grad.isfinite().all()


# --- AM3 ----------------------------------------------------------------------------------------------------------


def am3(**options):
    torch.manual_seed(0)
    return AM3(conv4(), INFO, **{"hidden": 5} | options).double().eval()


def layers(network, x):
    """A network of Linear, BatchNorm1d, ReLU and Dropout at test, for one row."""
    for layer in network:
        if isinstance(layer, nn.Linear):
            bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
            x = [
                math.fsum(w * v for w, v in zip(ws, x, strict=True)) + b
                for ws, b in zip(layer.weight.tolist(), bias, strict=True)
            ]
        elif isinstance(layer, nn.BatchNorm1d):
            scale = (layer.weight / (layer.running_var + 1e-3).sqrt()).tolist()
            shift = zip(x, layer.running_mean.tolist(), scale, layer.bias.tolist(), strict=True)
            x = [(v - m) * s + b for v, m, s, b in shift]
        elif isinstance(layer, nn.ReLU):
            x = [max(0.0, v) for v in x]
    return x


@pytest.mark.parametrize("inputs", ["word", "proto", "query", "word+proto", "query+word"])
@pytest.mark.parametrize("options", [{}, {"use_bn": True, "metric": "cosine"}, {"hidden": 0, "metric": "squared"}])
def test_am3(inputs, options):
    method = am3(inputs=inputs, scale=1.5, **options)
    for module in method.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    task = vector_task()
    prototypes = task.support["vector"].view(2, 3, 2, 7).mean(2).tolist()
    found = method(task)
    for t in range(2):
        for i, q in enumerate(task.query["vector"][t].tolist()):
            for n in range(3):
                seen = {
                    "word": layers(method.transform, task.semantics[t, n].tolist()),
                    "proto": prototypes[t][n],
                    "query": q,
                }
                (h,) = layers(method.weigh, [v for name in inputs.split("+") for v in seen[name]])
                weight = 1 / (1 + math.exp(-h))
                mixed = [weight * p + (1 - weight) * g for p, g in zip(seen["proto"], seen["word"], strict=True)]
                expected = 1.5 * similarity(q, mixed, options.get("metric", "euclidean"))
                assert found[t, i, n].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("inputs", ["word", "query+proto"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_am3_with_a_weight_of_one_is_protonet(inputs, metric):
    method, task = am3(inputs=inputs, metric=metric), vector_task()
    nn.init.zeros_(method.weigh[-1].weight)
    nn.init.constant_(method.weigh[-1].bias, 100.0)
    torch.testing.assert_close(method(task), ProtoNet(conv4(), INFO, metric=metric)(task), rtol=0, atol=1e-12)


def test_am3_with_a_weight_of_zero_does_not_look_at_the_supports():
    method, task = am3(), vector_task()
    nn.init.zeros_(method.weigh[-1].weight)
    nn.init.constant_(method.weigh[-1].bias, -1000.0)
    other = make_task({"vector": drawn(2, 6, 7, seed=9)}, task.query, 3, 2)
    object.__setattr__(other, "semantics", task.semantics)
    assert torch.equal(method(task), method(other))


def test_am3_drops_hidden_units_in_training_only_and_shows_its_weight():
    method, task = am3(hidden=50), vector_task()
    assert torch.equal(method(task), method(task))
    assert "lambda" not in method.scalars()
    method.train()
    assert not torch.equal(method(task), method(task))
    assert 0 < method.scalars()["lambda"] < 1
    assert isinstance(copy.deepcopy(method), AM3)


def test_am3_decays_its_word_networks_apart():
    method = AM3(conv4(), INFO, word_decay=0.2, learn_scale=True)
    method.objective = TaskRelevantMargin(learn="joint")
    method.objective.prepare(3)
    rest, words, margins = method.param_groups(0.1)
    assert (words["weight_decay"], margins["weight_decay"], "weight_decay" in rest) == (0.2, 0.0, False)
    counted = [p for group in (rest, words, margins) for p in group["params"]]
    assert {id(p) for p in counted} == {id(p) for p in method.parameters()}
    assert len(counted) == len(list(method.parameters()))
    assert any(p is method.scale for p in rest["params"])


def test_am3_names_its_inputs():
    with pytest.raises(
        UserError, match=r"^METHOD\.ARGS\.inputs is 'word\+image'; join some of word, proto, query by \+"
    ):
        AM3(conv4(), INFO, inputs="word+image")


def test_am3_scores_base_classes_by_their_means_and_words():
    method, task, base = am3(), vector_task(), drawn(6, 7, seed=5)
    object.__setattr__(task, "base", {"vector": base})
    of_base = make_task({"vector": base.expand(2, 6, 7)}, task.query, 6, 1)
    object.__setattr__(of_base, "semantics", WORDS.double().expand(2, 6, 9))
    torch.testing.assert_close(method.base_logits(task), method(of_base))
    assert "base_words" not in method.state_dict()


def test_am3_without_words_is_a_sentence():
    with pytest.raises(UserError, match=r"^AM3 reads word vectors, and the training classes have none; name a file"):
        AM3(conv4(), DataInfo(n_base=6, image_size=16))


def test_am3_takes_the_objectives_of_classes():
    method, task = am3(), vector_task()
    method.objective = TaskRelevantMargin(beta=5.0).double()
    method.objective.prepare(3)
    method.double().train().objective.eval()
    plain = F.cross_entropy(am3().eval()(task).flatten(0, 1), task.query_y.flatten())
    method.transform.eval(), method.weigh.eval()
    assert method.loss(task) > plain


# --- TADAM --------------------------------------------------------------------------------------------------------


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
    found = method(task)
    for t in range(2):
        plain = method.backbone(task.support["image"][t])["vector"]
        prototypes = torch.stack([plain[2 * n : 2 * n + 2].mean(0) for n in range(3)])
        embedding = prototypes.mean(0)
        film = []
        for (gain, offset), (g0, b0) in zip(method.condition.networks, method.condition.multipliers, strict=True):
            gamma, beta = (
                (lambda h: (lambda k: k + net.last(k))(h + F.silu(net.middle(h))))(F.silu(net.project(embedding)))
                for net in (gain, offset)
            )
            film.append((1 + g0 * gamma, b0 * beta))

        def conditioned(image, film=film):
            return method.backbone(image[None], [(g[None], b[None]) for g, b in film])["vector"][0]

        shots = torch.stack([conditioned(image) for image in task.support["image"][t]])
        for q, image in enumerate(task.query["image"][t]):
            for n in range(3):
                distance = (conditioned(image) - shots[2 * n : 2 * n + 2].mean(0)).norm()
                assert found[t, q, n].item() == pytest.approx(-7.5 * distance.item(), abs=1e-8)


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
    torch.testing.assert_close(method.loss(batch), weight * F.cross_entropy(logits, batch.labels))


def test_tadam_learns_its_multipliers_under_a_decay_of_their_own():
    method, task = tadam(multiplier_decay=0.3).train(), pixel_task()
    rest, multipliers = method.param_groups(0.1)
    assert [p is method.condition.multipliers for p in multipliers["params"]] == [True]
    assert multipliers["weight_decay"] == 0.3
    assert len(rest["params"]) == len(list(method.parameters())) - 1
    method.loss(task).backward()
    assert method.condition.multipliers.grad.abs().sum() > 0


def test_tadam_refuses_a_backbone_that_no_task_conditions():
    with pytest.raises(UserError, match=r"^METHOD\.NAME is TADAM, but no task can condition .* ResNet12; choose"):
        tadam(ResNet12(16, "native"))


def test_skip_layers_have_the_width_of_the_convolution():
    assert SkipLayers(5, 3)(torch.zeros(2, 5)).shape == (2, 3)
