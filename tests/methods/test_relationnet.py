"""RelationNet against its layers on concatenated maps, one pair at a time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import fold
from core.episode import DataInfo
from core.methods.relationnet import Relation, RelationNet
from tests.methods.small import conv4, shapes, task_of

INFO = DataInfo(n_base=6, image_size=16)


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
    method = RelationNet(conv4(size=side, pools=0), INFO).double().eval()
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
    logits = method(task)
    for t, q, n in np.ndindex(*logits.shape):
        mine = task.support["map"][t, task.support_y[t] == n]
        assert torch.allclose(logits[t, q, n], relation(method, mine, task.query["map"][t, q]), atol=1e-10)
    assert torch.allclose(fold(method)(task), logits, atol=1e-10)


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
