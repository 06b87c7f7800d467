"""DN4 against loops over local descriptors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.methods.dn4 import DN4
from core.ops import local_descriptors
from core.ops.distances import cosine
from tests.methods.small import (
    conv4,
    descriptors_of,
    shapes,
    task_of,
)

INFO = DataInfo(n_base=6, image_size=16)


@shapes()
@pytest.mark.parametrize("k", [1, 3])
def test_dn4(counts, k):
    task = task_of(6, 2, 2, counts=counts, tasks=1 if counts else 2, name="map")
    logits = DN4(conv4(), INFO, k=k, temperature=2.0)(task)
    for t, q, n in np.ndindex(*logits.shape):
        mine = task.support["map"][t, task.support_y[t] == n]
        pool = [y for image in mine for y in descriptors_of(image)]
        best = [
            sorted((float(F.cosine_similarity(x, y, dim=0)) for y in pool), reverse=True)[:k]
            for x in descriptors_of(task.query["map"][t, q])
        ]
        assert logits[t, q, n].item() == pytest.approx(math.fsum(map(math.fsum, best)) / 2, abs=1e-10)


def test_dn4_with_one_descriptor_is_the_cosine_nearest_neighbour():
    task = task_of(6, 1, 1, name="map")
    logits = DN4(conv4(), INFO, k=1)(task)
    nearest = cosine(task.query["map"].flatten(2), task.support["map"].flatten(2)).unflatten(2, (3, 2)).amax(3)
    assert torch.allclose(logits, nearest, atol=1e-12)


def test_dn4_multi_scale_is_dn4_on_the_pyramid():
    task = task_of(6, 5, 5, name="map")
    logits = DN4(conv4(), INFO, k=2, sides=[5, 2, 1])(task)
    support, query = (local_descriptors.pyramid(features["map"], [5, 2, 1]) for features in (task.support, task.query))
    assert query.shape[2] == 30
    assert torch.allclose(logits, local_descriptors.local_scores(query, support, task, 2))
    one_scale = DN4(conv4(), INFO, k=2, sides=[5])(task)
    assert torch.allclose(one_scale, DN4(conv4(), INFO, k=2)(task), atol=1e-12)


@pytest.mark.parametrize(("sides", "regions"), [([], 4), ([2, 1], 5)])
def test_the_pictures_are_what_the_score_sums(sides, regions):
    task = task_of(6, 2, 2, tasks=1, name="map")
    positive = replace(task, query={"map": task.query["map"].abs()}, support={"map": task.support["map"].abs()})
    method = DN4(conv4(), INFO, k=2, sides=sides)
    (picture,) = method.pictures(positive)
    assert picture.strength.shape == (4, 6, regions, regions)
    assert len(picture.query_regions) == len(picture.support_regions) == regions
    scores = picture.strength.reshape(4, 3, 2, -1).sum((2, 3))  # supports are class-major, two of each class
    assert np.allclose(scores, method(positive)[0].numpy(), atol=1e-12)
