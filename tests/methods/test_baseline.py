"""The initial heads of the methods that fine-tune one."""

import math

import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.baseline import Baseline, BaselinePlusPlus
from core.methods.negmargin import NegMargin
from tests.helpers import make_task
from tests.methods.small import conv4, vectors

INFO = DataInfo(n_base=6, image_size=16)


def test_an_episodes_head_may_have_a_scale_of_its_own():
    task = make_task({"vector": vectors(2, 5, 8)}, {"vector": vectors(2, 10, 8, seed=1)}, 5, 1)
    same, other = (BaselinePlusPlus(conv4(8), INFO, scale=10.0, head_lr=0.0, head_scale=s) for s in (0.0, 5.0))
    torch.testing.assert_close(other(task), same(task) / 2)
    assert other.classifier.scale == same.classifier.scale == 10.0


@pytest.mark.parametrize("method", [Baseline, BaselinePlusPlus, NegMargin])
def test_at_learning_rate_0_the_head_is_the_initial_one(method):
    made = method(conv4(8), INFO, head_lr=0.0)
    task = make_task({"vector": vectors(2, 5, 8)}, {"vector": vectors(2, 10, 8, seed=1)}, 5, 1)
    start = made.uniform(task, "head", (5, 8), task.support["vector"])
    assert start.abs().max() <= 1 / math.sqrt(8)
    query = task.query["vector"]
    expected = {
        Baseline: query @ start.transpose(1, 2) + made.uniform(task, "bias", (5,), query)[:, None],
        BaselinePlusPlus: 2 * F.normalize(query, dim=2) @ start.transpose(1, 2),
        NegMargin: 5 * F.normalize(query, dim=2) @ F.normalize(start, dim=2).transpose(1, 2),
    }[method]
    torch.testing.assert_close(made(task), expected)
