"""Small networks and tasks of random features for the tests of single methods."""

import math

import numpy as np
import pytest
import torch

from core.backbones.conv4 import Conv4
from tests.helpers import make_task

UNEQUAL = [1, 3, 2]
WORDS = torch.randn(6, 9, generator=torch.Generator().manual_seed(3))


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conv4(width=6, size=16, seed=0, **options):
    torch.manual_seed(seed)
    return Conv4(size, "mean", width=width, **options)


def task_of(*tail, counts=None, tasks=2, way=3, shot=2, queries=4, name="vector"):
    """A task of random features; `counts` gives each class its own number of shots."""
    supports = sum(counts) if counts else way * shot
    support, query = drawn(tasks, supports, *tail), drawn(tasks, queries, *tail, seed=1)
    labels = torch.arange(way).repeat_interleave(torch.tensor(counts))[None] if counts else None
    return make_task({name: support}, {name: query}, way, None if counts else shot, labels)


def shapes():
    """With equal and with unequal shots."""
    return pytest.mark.parametrize("counts", [None, UNEQUAL])


def close(ours, expected):
    assert np.allclose(ours.detach().numpy(), expected, rtol=0, atol=1e-10)


def descriptors_of(image):
    return [image[:, i, j] for i in range(image.shape[1]) for j in range(image.shape[2])]


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
