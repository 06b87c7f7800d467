"""Disjoint tasks: nothing twice, as many as fit, and the same ones every time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.disjoint import DisjointSampler, count_tasks
from core.data.episodes import Shape
from tests.helpers import make_split


@given(
    st.lists(st.integers(1, 14), min_size=4, max_size=8),
    st.integers(2, 4),
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_no_image_twice_in_a_partition(counts, way, shot, query, seed):
    split = make_split(len(counts), counts, size=1)
    sampler = DisjointSampler(split, Shape(way, shot, query), seed, 2)
    assert len(sampler) == 2 * sampler.tasks
    assert sampler.tasks == count_tasks(np.array(counts) // (shot + query), way)
    drawn = sampler.draw(torch.arange(len(sampler)))
    labels = torch.from_numpy(split.labels)
    for first in (0, sampler.tasks):
        part = drawn.part(first, first + sampler.tasks)
        used = torch.cat([part.support, part.query], 1).flatten()
        assert len(used.unique()) == len(used)
        assert torch.equal(labels[part.support], part.classes.repeat_interleave(shot, 1))
        assert torch.equal(labels[part.query], part.classes.repeat_interleave(query, 1))
        assert all(len(set(row)) == way for row in part.classes.tolist())


def test_as_many_as_the_papers_say():
    assert count_tasks(np.full(20, 600 // 16), 5) == 148
    assert count_tasks(np.full(20, 600 // 20), 5) == 120
    assert count_tasks(np.array([9, 1, 1]), 2) == 2
    assert count_tasks(np.array([9, 0, 0]), 2) == 0


def test_first_tasks_never_change():
    drawn = DisjointSampler(make_split(8, 25, size=4), Shape(3, 2, 2), 7, 2).draw(torch.tensor([0, 17]))
    assert drawn.classes.tolist() == [[0, 3, 2], [1, 4, 5]]
    assert drawn.support.tolist() == [[8, 7, 95, 84, 73, 60], [37, 40, 112, 122, 146, 141]]


@pytest.mark.parametrize("change", ["seed", "shape", "partition"])
def test_every_argument_matters(change):
    split, shape = make_split(8, 25, size=4), Shape(3, 1, 1)
    one = DisjointSampler(split, shape, 0, 2)
    other = DisjointSampler(split, Shape(3, 1, 2) if change == "shape" else shape, int(change == "seed"), 2)
    at = one.tasks if change == "partition" else 0
    assert not torch.equal(one.draw(torch.arange(4)).support, other.draw(torch.arange(at, at + 4)).support)
    assert not set(one.draw(torch.arange(4)).seed.tolist()) & set(other.draw(torch.arange(at, at + 4)).seed.tolist())


def test_fewer_partitions_are_the_first_of_more():
    split, shape = make_split(8, 25, size=4), Shape(3, 1, 4)
    few, many = DisjointSampler(split, shape, 0, 1), DisjointSampler(split, shape, 0, 3)
    one, other = few.draw(torch.arange(len(few))), many.draw(torch.arange(len(few)))
    assert torch.equal(one.query, other.query)
    assert torch.equal(one.seed, other.seed)
