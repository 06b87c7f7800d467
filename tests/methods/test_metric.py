"""The metric methods against loops over single images in float64, written from the papers' equations."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import fold
from core.backbones.conv4 import Conv4
from core.episode import DataInfo
from core.errors import UserError
from core.methods.cosine_protonet import CosineProtoNet
from core.methods.covamnet import CovaMNet
from core.methods.dn4 import DN4
from core.methods.matchingnet import MatchingNet
from core.methods.meta_baseline import MetaBaseline
from core.methods.relationnet import Relation, RelationNet
from core.ops import local_descriptors
from core.ops.distances import cosine
from tests.helpers import make_task

INFO = DataInfo(n_base=6, image_size=16)
UNEQUAL = [1, 3, 2]


def conv4(size=16, pools=4, vector="mean", seed=0):
    torch.manual_seed(seed)
    return Conv4(size, vector, width=6, pools=pools)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def task_of(*tail, counts=None, tasks=2, way=3, shot=2, queries=4, name="vector"):
    """A task of random features; `counts` gives each class its own number of shots."""
    supports = sum(counts) if counts else way * shot
    support, query = drawn(tasks, supports, *tail), drawn(tasks, queries, *tail, seed=1)
    labels = torch.arange(way).repeat_interleave(torch.tensor(counts))[None] if counts else None
    return make_task({name: support}, {name: query}, way, None if counts else shot, labels)


def shapes():
    """With equal and with unequal shots."""
    return pytest.mark.parametrize("counts", [None, UNEQUAL])


def close(found, expected):
    assert np.allclose(found.detach().numpy(), expected, rtol=0, atol=1e-10)


# MatchingNet


def attention_log_probabilities(query, support, labels, way, scale):
    """log p(n | q) by the paper's equations 1 and 2, for [Q, D] and [n_s, D]."""
    rows = []
    for q in query:
        weights = [math.exp(scale * float(F.cosine_similarity(q, s, dim=0))) for s in support]
        mine = [math.fsum(w for w, y in zip(weights, labels, strict=True) if y == n) for n in range(way)]
        rows.append([math.log(m / math.fsum(weights)) for m in mine])
    return rows


@shapes()
def test_matchingnet_without_fce(counts):
    task = task_of(6, counts=counts, tasks=1 if counts else 2)
    found = MatchingNet(conv4(), INFO, scale=7.0)(task)
    for t in range(task.tasks):
        query, support = task.query["vector"][t], task.support["vector"][t]
        close(found[t].log_softmax(1), attention_log_probabilities(query, support, task.support_y[t], 3, 7.0))


def test_matchingnet_at_one_shot_is_the_cosine():
    task = task_of(6, shot=1)
    found = MatchingNet(conv4(), INFO, scale=7.0)(task)
    assert torch.allclose(found, 7 * cosine(task.query["vector"], task.support["vector"]), atol=1e-12)
    assert torch.allclose(found, CosineProtoNet(conv4(), INFO, scale=7.0)(task), atol=1e-12)


def gates(cell, x, hidden, memory, suffix=""):
    """One step of an LSTM for single vectors, gate by gate."""
    weight = [getattr(cell, f"{name}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    z = weight[0] @ x + weight[2] + weight[1] @ hidden + weight[3]
    i, f, g, o = z.chunk(4)
    memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
    return o.sigmoid() * memory.tanh(), memory


def in_context(method, support):
    """g of the appendix: forwards and backwards over the supports [n_s, D], plus themselves."""
    sums = list(support)
    for suffix, order in (("_l0", range(len(support))), ("_l0_reverse", reversed(range(len(support))))):
        hidden = memory = torch.zeros_like(support[0])
        for i in order:
            hidden, memory = gates(method.over_supports, support[i], hidden, memory, suffix)
            sums[i] = sums[i] + hidden
    return torch.stack(sums)


@shapes()
@pytest.mark.parametrize("steps", [1, 3])
@torch.no_grad()
def test_matchingnet_with_full_context(counts, steps):
    method = MatchingNet(conv4(), INFO, scale=7.0, fce=True, steps=steps).double()
    task = task_of(6, counts=counts, tasks=1 if counts else 2)
    found = method(task)
    for t in range(task.tasks):
        support = in_context(method, task.support["vector"][t])
        queries = []
        for q in task.query["vector"][t]:
            hidden, memory = q, torch.zeros_like(q)
            for _ in range(steps):
                read = (support @ hidden).softmax(0) @ support
                hidden, memory = gates(method.over_query, torch.cat([q, read]), hidden, memory)
                hidden = hidden + q
            queries.append(hidden)
        expected = attention_log_probabilities(queries, support, task.support_y[t], 3, 7.0)
        close(found[t].log_softmax(1), expected)


def test_full_context_depends_on_the_order_and_says_so():
    plain, full = MatchingNet(conv4(), INFO), MatchingNet(conv4(), INFO, fce=True).double()
    assert (plain.order_free, plain.class_symmetric) == (True, True)
    assert (full.order_free, full.class_symmetric) == (False, False)
    task = task_of(6)
    swapped = make_task({"vector": task.support["vector"][:, [1, 0, 2, 3, 4, 5]]}, task.query, 3, 2)
    assert torch.allclose(plain(task), plain(swapped), atol=1e-12)
    assert not torch.allclose(full(task), full(swapped), atol=1e-4)
    half = make_task(task.support, {"vector": task.query["vector"][:, :2]}, 3, 2)
    assert torch.allclose(full(task)[:, :2], full(half), atol=1e-12)


# Cosine to the class mean


def test_cosine_protonet():
    task = task_of(6)
    found = CosineProtoNet(conv4(), INFO)(task)
    for t, q, n in np.ndindex(*found.shape):
        mean = task.support["vector"][t, 2 * n : 2 * n + 2].mean(0)
        expected = 32 * F.cosine_similarity(task.query["vector"][t, q], mean, dim=0)
        assert torch.allclose(found[t, q, n], expected)
    learned = MetaBaseline(conv4(), INFO, tau=32.0)
    assert torch.allclose(learned(task), found)
    assert dict(learned.named_parameters())["tau"] is learned.logit_scale
    assert not any(name == "tau" for name, _ in CosineProtoNet(conv4(), INFO).named_parameters())


# RelationNet


def relation(method, support, query):
    """The relation of one query map with a class's support maps, by the paper's layers on their concatenation."""
    x = torch.cat([sum(support), query])[None]
    for (conv, norm), pool in zip(method.relation.blocks, method.relation.pools, strict=True):
        x = F.conv2d(x, conv.weight, conv.bias, padding=conv.padding)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        x = pool(x.relu())
    first, _, last = method.relation.head
    return (last.weight @ (first.weight @ x.flatten() + first.bias).relu() + last.bias)[0]


def relationnet(side):
    method = RelationNet(conv4(side, pools=0), INFO).double().eval()
    for block in method.relation.blocks:
        nn.init.normal_(block[1].running_mean)
        nn.init.uniform_(block[1].running_var, 0.5, 2)
        nn.init.uniform_(block[1].weight, 0.5, 2)
        nn.init.normal_(block[1].bias)
    return method


@shapes()
@pytest.mark.parametrize("side", [2, 4, 11])
def test_relationnet(counts, side):
    method, task = relationnet(side), task_of(6, side, side, counts=counts, tasks=1 if counts else 2, name="map")
    found = method(task)
    for t, q, n in np.ndindex(*found.shape):
        mine = task.support["map"][t, task.support_y[t] == n]
        assert torch.allclose(found[t, q, n], relation(method, mine, task.query["map"][t, q]), atol=1e-10)
    assert torch.allclose(fold(method)(task), found, atol=1e-10)


def test_relationnet_evaluates_in_parts(monkeypatch):
    method, task = relationnet(4), task_of(6, 4, 4, name="map")
    whole = method(task)
    monkeypatch.setattr("core.methods.relationnet.AT_ONCE", 1)
    assert torch.allclose(method(task), whole, atol=1e-12)


@pytest.mark.parametrize(
    ("side", "left"), [(21, 3), (19, 3), (10, 1), (8, 2), (6, 1), (5, 1), (4, 1), (3, 1), (2, 1), (1, 1)]
)
def test_relation_of_any_map(side, left):
    relation = Relation(8, side, 5)
    assert relation.head[0].in_features == 8 * left**2
    assert relation(torch.randn(2, 3, 8, side, side), torch.randn(2, 4, 8, side, side)).shape == (2, 3, 4)


def test_relation_has_the_papers_sizes_at_84_pixels():
    relation = Relation(64, 19, 8)
    assert relation.head[0].in_features == 576
    assert sum(p.numel() for p in relation.parameters()) == 192 * 64 * 9 + 2 * 3 * 64 + 577 * 8 + 9


# DN4


def descriptors_of(image):
    return [image[:, i, j] for i in range(image.shape[1]) for j in range(image.shape[2])]


@shapes()
@pytest.mark.parametrize("k", [1, 3])
def test_dn4(counts, k):
    task = task_of(6, 2, 2, counts=counts, tasks=1 if counts else 2, name="map")
    found = DN4(conv4(), INFO, k=k, temperature=2.0)(task)
    for t, q, n in np.ndindex(*found.shape):
        mine = task.support["map"][t, task.support_y[t] == n]
        pool = [y for image in mine for y in descriptors_of(image)]
        best = [
            sorted((float(F.cosine_similarity(x, y, dim=0)) for y in pool), reverse=True)[:k]
            for x in descriptors_of(task.query["map"][t, q])
        ]
        assert found[t, q, n].item() == pytest.approx(math.fsum(map(math.fsum, best)) / 2, abs=1e-10)


def test_dn4_with_one_descriptor_is_the_cosine_nearest_neighbour():
    task = task_of(6, 1, 1, name="map")
    found = DN4(conv4(), INFO, k=1)(task)
    nearest = cosine(task.query["map"].flatten(2), task.support["map"].flatten(2)).unflatten(2, (3, 2)).amax(3)
    assert torch.allclose(found, nearest, atol=1e-12)


def test_dn4_multi_scale_is_dn4_on_the_pyramid():
    task = task_of(6, 5, 5, name="map")
    found = DN4(conv4(), INFO, k=2, sides=[5, 2, 1])(task)
    support, query = (local_descriptors.pyramid(features["map"], [5, 2, 1]) for features in (task.support, task.query))
    assert query.shape[2] == 30
    assert torch.allclose(found, local_descriptors.local_scores(query, support, task, 2))
    own = DN4(conv4(), INFO, k=2, sides=[5])(task)
    assert torch.allclose(own, DN4(conv4(), INFO, k=2)(task), atol=1e-12)


# CovaMNet


@shapes()
def test_covamnet(counts):
    method = CovaMNet(conv4(16, pools=2), INFO).double().eval()
    nn.init.normal_(method.weight)
    task = task_of(6, 4, 4, counts=counts, tasks=1 if counts else 2, name="map")
    found = method(task)
    for t, q, n in np.ndindex(*found.shape):
        mine = task.support["map"][t, task.support_y[t] == n]
        pool = np.array([y.numpy() for image in mine for y in descriptors_of(image)])
        covariance = torch.from_numpy(np.cov(pool, rowvar=False))
        image = task.query["map"][t, q]
        image = image / image.square().sum((1, 2), keepdim=True).sqrt()
        metric = torch.stack([x @ covariance @ x for x in descriptors_of(image)])
        assert torch.allclose(found[t, q, n], (F.leaky_relu(metric, 0.2) * method.weight).sum(), atol=1e-10)


def test_covamnet_drops_positions_in_training_only():
    task = task_of(6, 4, 4, name="map")
    method = CovaMNet(conv4(16, pools=2), INFO, dropout=0.5).double()
    assert torch.equal(method.eval()(task), method(task))
    assert not torch.equal(method.train()(task), method(task))


def test_covamnet_refuses_a_map_of_one_position():
    with pytest.raises(UserError, match=r"^METHOD\.NAME is CovaMNet, but the backbone's map has a single position"):
        CovaMNet(conv4(16), INFO)
