"""Class means against loops over supports in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.ops.groups import class_mean, stacked_by_class
from tests.helpers import make_task


def naive(support, labels, way):
    """[T, n_s, *], [T, n_s] to [T, N, *]."""
    means = np.zeros((len(support), way, *support.shape[2:]))
    for t in range(len(support)):
        for n in range(way):
            members = [support[t, i] for i in range(support.shape[1]) if labels[t, i] == n]
            means[t, n] = sum(members) / len(members)
    return means


def random_features(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tail", [(7,), (3, 2, 2)], ids=["vector", "map"])
@given(st.integers(1, 3), st.integers(2, 5), st.integers(1, 4))
def test_equal_shots(tail, tasks, way, shot):
    support = random_features(tasks, way * shot, *tail)
    task = make_task({"x": support}, {"x": support}, way, shot)
    mean = class_mean(task, "x")
    assert mean.shape == (tasks, way, *tail)
    assert np.allclose(mean.numpy(), naive(support.numpy(), task.support_y.numpy(), way), atol=1e-12)


@pytest.mark.parametrize("tail", [(7,), (3, 2, 2)], ids=["vector", "map"])
@given(st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_unequal_shots(tail, counts):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))[None]
    support = random_features(1, sum(counts), *tail)
    task = make_task({"x": support}, {"x": support}, len(counts), None, labels)
    mean = class_mean(task, "x")
    assert mean.shape == (1, len(counts), *tail)
    assert np.allclose(mean.numpy(), naive(support.numpy(), labels.numpy(), len(counts)), atol=1e-12)


def test_unequal_path_equals_equal_path():
    support = random_features(1, 12, 7)
    equal = make_task({"x": support}, {"x": support}, 4, 3)
    unequal = make_task({"x": support}, {"x": support}, 4, None, equal.support_y)
    assert torch.allclose(class_mean(equal, "x"), class_mean(unequal, "x"), atol=1e-12)


@pytest.mark.parametrize("counts", [[2, 2, 2], [1, 3, 2], [4, 1, 1]])
def test_stacked_by_class(counts):
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))[None]
    support = random_features(1, sum(counts), 4, 2)
    task = make_task({"map": support}, {"map": support}, 3, 2 if len(set(counts)) == 1 else None, labels)
    stacked, shots = stacked_by_class(support, task)
    assert shots.tolist() == [counts]
    assert stacked.shape == (1, 3, max(counts), 4, 2)
    for n, count in enumerate(counts):
        assert torch.equal(stacked[0, n, :count], support[0, labels[0] == n])
        assert not stacked[0, n, count:].any()
