"""Trials over all classes, against counting them one by one."""

from collections import Counter

import pytest
import torch

from core.data.allway import AllWaySampler
from core.errors import UserError
from tests.helpers import make_split

SPLIT = make_split(4, [9, 5, 12, 7], size=8)


@pytest.mark.parametrize("queries", [3, 100])
def test_a_trial_holds_every_class_and_asks_about_the_rest(queries):
    sampler = AllWaySampler(SPLIT, 2, queries, seed=3)
    for number in range(20):
        drawn = sampler.draw(number)
        support, query = drawn.support[0].tolist(), drawn.query[0].tolist()
        assert not set(support) & set(query)
        assert len(set(query)) == len(query)
        classes = drawn.classes[0].tolist()
        assert sorted(classes) == [0, 1, 2, 3]
        assert [SPLIT.labels[row] for row in support] == [c for c in classes for _ in range(2)]
        assert [SPLIT.labels[row] for row in query] == [classes[y] for y in drawn.query_y[0].tolist()]
        expected = {c: min(queries, int(SPLIT.counts[c]) - 2) for c in range(4)}
        assert Counter(SPLIT.labels[row] for row in query) == expected


def test_a_trial_is_a_function_of_its_number_and_the_seed():
    first, again, other = (AllWaySampler(SPLIT, 2, 3, seed) for seed in (3, 3, 4))
    assert torch.equal(first.draw(7).query, again.draw(7).query)
    assert not torch.equal(first.draw(7).query, first.draw(8).query)
    assert not torch.equal(first.draw(7).query, other.draw(7).query)
    every = torch.cat([first.draw(i).query[0] for i in range(60)]).unique()
    assert len(every) == len(SPLIT.labels)  # every image is a query sooner or later


def test_a_class_needs_an_image_beside_its_supports():
    with pytest.raises(UserError, match="class 'class001' of the train split of Made has 5 images"):
        AllWaySampler(SPLIT, 5, 3, seed=0)
