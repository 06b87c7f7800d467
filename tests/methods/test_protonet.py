"""ProtoNet and its metrics against the paper's equations, written as loops in float64."""

import math

import numpy as np
import pytest
import torch

from core.data.datasets import dataset
from core.episode import DataInfo
from core.errors import UserError
from core.methods.protonet import ProtoNet
from core.registry import BACKBONES
from tests.configs.leaves import leaves, loaded
from tests.helpers import make_task
from tests.methods.small import WORDS, conv4, drawn, similarity, vector_task

INFO = DataInfo(n_base=6, image_size=16, way=3, words=lambda: WORDS)


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
    method = ProtoNet(conv4(4), INFO, scale=scale)
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
    assert np.allclose(ProtoNet(conv4(4), INFO)(task).numpy()[0], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("metric", ["squared", "euclidean", "cosine"])
@pytest.mark.parametrize("learn_scale", [False, True])
def test_metrics_of_protonet(metric, learn_scale):
    method = ProtoNet(conv4(7), INFO, metric=metric, scale=2.5, learn_scale=learn_scale)
    task = vector_task()
    prototypes = task.support["vector"].view(2, 3, 2, 7).mean(2).tolist()
    expected = [
        [[2.5 * similarity(q, c, metric) for c in cs] for q in qs]
        for qs, cs in zip(task.query["vector"].tolist(), prototypes, strict=True)
    ]
    logits = method(task)
    assert np.allclose(logits.detach().numpy(), expected, rtol=0, atol=1e-6)
    assert method.cosine_logits == (metric == "cosine")
    assert logits.requires_grad == learn_scale
    assert method.scalars() == ({"scale": 2.5} if learn_scale else {})


def test_unknown_metric_is_a_sentence():
    with pytest.raises(
        UserError, match=r"^METHOD\.ARGS\.metric is 'l1', which is not one of: squared, euclidean, cosine"
    ):
        ProtoNet(conv4(7), INFO, metric="l1")


def test_a_query_on_its_prototype_has_a_finite_gradient():
    method = ProtoNet(conv4(7), INFO, metric="euclidean")
    task = vector_task(shot=1, queries=3)
    query = task.support["vector"].clone().requires_grad_()
    task = make_task(task.support, {"vector": query}, 3, 1)
    method.loss(task).value.backward()
    assert query.grad.isfinite().all()


def own_scales():
    """YAMLs of squared distances of images with a scale of their own, of which one for each network and size counts."""
    chosen = {}
    for leaf in leaves():
        cfg, arguments = loaded(leaf).cfg, loaded(leaf).cfg.METHOD.ARGS
        of_images = cfg.METHOD.NAME == "ProtoNet" and cfg.BACKBONE.NAME != "Features"
        if of_images and arguments.metric == "squared" and arguments.scale != 1:
            chosen[cfg.DATASET.NAME, cfg.BACKBONE.NAME, cfg.BACKBONE.VECTOR, arguments.scale] = leaf
    return sorted(chosen.values())


@pytest.mark.parametrize("leaf", own_scales())
def test_training_starts_near_chance(leaf):
    """Squared distances grow with the length of a vector: a scale for small images saturates the softmax of larger."""
    cfg, way = loaded(leaf).cfg, 20
    size = cfg.DATASET.SIZE or dataset(cfg.DATASET.NAME).native_size
    torch.manual_seed(0)
    backbone = BACKBONES[cfg.BACKBONE.NAME](size, cfg.BACKBONE.VECTOR, **cfg.BACKBONE.ARGS)
    method = ProtoNet(backbone, INFO, **cfg.METHOD.ARGS).train()
    support, query = torch.randn(1, way, 3, size, size), torch.randn(1, way, 3, size, size)
    task = make_task({"image": support}, {"image": query}, way, 1).encoded(method.encode)
    with torch.no_grad():
        assert method.loss(task).value.item() < 1.25 * math.log(way)
