"""Matching Networks against loops over single images in float64, written from the equations."""

import math

import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.cosine_protonet import CosineProtoNet
from core.methods.matchingnet import MatchingNet
from core.ops.distances import cosine
from tests.helpers import make_task
from tests.methods.small import close, conv4, shapes, task_of

INFO = DataInfo(n_base=6, image_size=16)


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
    logits = MatchingNet(conv4(), INFO, scale=7.0)(task)
    for t in range(task.tasks):
        query, support = task.query["vector"][t], task.support["vector"][t]
        close(logits[t].log_softmax(1), attention_log_probabilities(query, support, task.support_y[t], 3, 7.0))


def test_matchingnet_at_one_shot_is_the_cosine():
    task = task_of(6, shot=1)
    logits = MatchingNet(conv4(), INFO, scale=7.0)(task)
    assert torch.allclose(logits, 7 * cosine(task.query["vector"], task.support["vector"]), atol=1e-12)
    assert torch.allclose(logits, CosineProtoNet(conv4(), INFO, scale=7.0)(task), atol=1e-12)


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
    logits = method(task)
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
        close(logits[t].log_softmax(1), expected)


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
