"""Episodes whose classes have different numbers of supports, or of queries."""

import numpy as np
import pytest
import torch

from core.data.episodes import EpisodeSampler, Shape
from tests.helpers import make_split

SHOTS = (1, 2, 3, 1, 2)


def draw(shape, episodes=200, per_class=30, seed=0):
    split = make_split(8, per_class)
    return split, EpisodeSampler(split, shape, seed).draw(torch.arange(episodes))


def test_each_class_has_its_own_number_of_supports():
    split, drawn = draw(Shape(5, 3, 4, shots=SHOTS))
    labels = np.repeat(np.arange(5), SHOTS)
    assert drawn.support.shape == (200, 9)
    assert (split.labels[drawn.support] == np.take_along_axis(drawn.classes.numpy(), labels[None], 1)).all()
    assert (split.labels[drawn.query] == drawn.classes.gather(1, drawn.query_y).numpy()).all()
    assert drawn.query_y.tolist()[0] == np.repeat(np.arange(5), 4).tolist()


@pytest.mark.parametrize("per_class", [30, [9, 40, 12, 30, 30, 9, 25, 31]])
def test_a_total_of_queries_falls_unevenly_on_the_classes(per_class):
    split, drawn = draw(Shape(5, 2, 0, queries=20), per_class=per_class)
    assert drawn.query.shape == (200, 20)
    assert (split.labels[drawn.query] == drawn.classes.gather(1, drawn.query_y).numpy()).all()
    counts = torch.nn.functional.one_hot(drawn.query_y, 5).sum(1)
    assert counts.float().mean(0).numpy() == pytest.approx(4, abs=0.6)
    assert counts.min() <= 1
    assert counts.max() >= 7


@pytest.mark.parametrize("shape", [Shape(5, 3, 4, shots=SHOTS), Shape(3, 2, 0, queries=17), Shape(5, 3, 0, SHOTS, 11)])
def test_no_image_occurs_twice_and_an_episode_depends_on_its_number_alone(shape):
    split, drawn = draw(shape)
    for support, query in zip(drawn.support.tolist(), drawn.query.tolist(), strict=True):
        assert len({*support, *query}) == len(support) + len(query)
    alone = EpisodeSampler(split, shape, 0).draw(torch.tensor([17]))
    for name in ("classes", "support", "query", "query_y", "seed"):
        assert torch.equal(getattr(alone, name)[0], getattr(drawn, name)[17])


def test_all_queries_there_are():
    _, drawn = draw(Shape(2, 1, 0, queries=6), per_class=4)
    assert (drawn.query_y == torch.tensor([0, 0, 0, 1, 1, 1])).all()
