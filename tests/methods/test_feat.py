"""FEAT against its equations, written as loops in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.backbones.conv4 import Conv4
from core.episode import DataInfo
from core.methods.feat import FEAT, SetAttention
from tests.helpers import make_task

WIDTH = 4


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def feat():
    def build(**options):
        torch.manual_seed(0)
        method = FEAT(Conv4(16, "native", width=WIDTH), DataInfo(6, 16), **options).double()
        torch.nn.init.normal_(method.attention.norm.weight)
        torch.nn.init.normal_(method.attention.norm.bias)
        return method

    return build


def adapted(attention, rows):
    """One set, [n][d], by loops over its members."""
    w = {name: p.detach().numpy() for name, p in attention.named_parameters()}
    rows = rows.numpy()
    q, k, v = (rows @ w[f"{name}.weight"].T for name in ("query", "key", "value"))
    out = []
    for i in range(len(rows)):
        scores = np.array([q[i] @ k[j] / math.sqrt(rows.shape[1]) for j in range(len(rows))])
        weights = np.exp(scores) / np.exp(scores).sum()
        mixed = sum(weights[j] * v[j] for j in range(len(rows)))
        x = rows[i] + w["out.weight"] @ mixed + w["out.bias"]
        out.append((x - x.mean()) / math.sqrt(x.var() + 1e-5) * w["norm.weight"] + w["norm.bias"])
    return np.stack(out)


@pytest.mark.parametrize(("width", "count"), [(640, 1_640_320), (64, 16_576)])
def test_parameters_of_the_attention(width, count):
    assert sum(p.numel() for p in SetAttention(width, 0.5).parameters()) == count


@pytest.mark.parametrize("shot", [1, 3])
def test_logits(feat, shot):
    method = feat(temperature=8.0).eval()
    support, query = drawn(2, 3 * shot, WIDTH), drawn(2, 6, WIDTH, seed=1)
    task = make_task({"vector": support}, {"vector": query}, 3, shot)
    expected = np.zeros((2, 6, 3))
    for t in range(2):
        prototypes = adapted(method.attention, support[t].view(3, shot, WIDTH).mean(1))
        for i, n in np.ndindex(6, 3):
            expected[t, i, n] = -((query[t, i].numpy() - prototypes[n]) ** 2).sum() / 8
    assert np.allclose(method(task).detach().numpy(), expected, rtol=0, atol=1e-10)


def contrast(method, support, query, shot, temperature):
    """Mean over instances of -log p(own class | centres) of one task, classes in order."""
    sets = [
        torch.cat([support[n * shot : (n + 1) * shot], query[n * 2 : n * 2 + 2]]) for n in range(len(support) // shot)
    ]
    centres = [adapted(method.attention, rows).mean(0) for rows in sets]
    losses = []
    for n, rows in enumerate(sets):
        for x in rows.numpy():
            logits = np.array([-((x - c) ** 2).sum() / temperature for c in centres])
            losses.append(math.log(np.exp(logits).sum()) - logits[n])
    return sum(losses) / len(losses)


def test_loss_adds_the_contrastive_term(feat):
    method = feat(temperature=8.0, temperature2=4.0, balance=0.3).eval()
    support, query = drawn(2, 6, WIDTH), drawn(2, 6, WIDTH, seed=1)
    task = make_task({"vector": support}, {"vector": query}, 3, 2)
    expected = np.mean([contrast(method, support[t], query[t], 2, 4.0) for t in range(2)])
    plain = F.cross_entropy(method(task).flatten(0, 1), task.query_y.flatten())
    assert method.loss(task).value.item() == pytest.approx(plain.item() + 0.3 * expected, abs=1e-10)


def test_queries_may_stand_in_any_order(feat):
    method = feat().eval()
    task = make_task({"vector": drawn(1, 3, WIDTH)}, {"vector": drawn(1, 6, WIDTH, seed=1)}, 3, 1)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    mixed = make_task(task.support, {"vector": task.query["vector"][:, order]}, 3, 1)
    object.__setattr__(mixed, "query_y", task.query_y[:, order])
    assert method.contrast(mixed).item() == pytest.approx(method.contrast(task).item(), abs=1e-12)


def test_dropout_acts_in_training_only(feat):
    task = make_task({"vector": drawn(1, 3, WIDTH)}, {"vector": drawn(1, 3, WIDTH, seed=1)}, 3, 1)
    method = feat(dropout=0.5)
    assert torch.equal(method.eval()(task), method.eval()(task))
    assert not torch.equal(method.train()(task), method.train()(task))


def test_the_attention_learns_faster(feat):
    method = feat(head_factor=7.0)
    backbone, head = method.param_groups(0.1)
    assert (backbone["lr"], head["lr"]) == (0.1, pytest.approx(0.7))
    assert {id(p) for p in backbone["params"]} == {id(p) for p in method.backbone.parameters()}
    assert {id(p) for group in (backbone, head) for p in group["params"]} == {id(p) for p in method.parameters()}
