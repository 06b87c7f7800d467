"""Local descriptors against loops over single descriptors in float64."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from core.ops import local_descriptors
from core.ops.local_descriptors import (
    class_covariances,
    descriptors,
    local_scores,
    matches,
    pyramid,
    quadratic_forms,
    unit,
)
from tests.conftest import ROOT
from tests.helpers import make_task


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def problem(tasks=2, queries=3, way=3, shot=2, positions=(4, 5), width=6, counts=None, dtype=torch.float64):
    """Query and support descriptors and their task; `counts` gives each class its own number of shots."""
    supports = sum(counts) if counts else way * shot
    query = drawn(tasks, queries, positions[0], width, dtype=dtype)
    support = drawn(tasks, supports, positions[1], width, seed=1, dtype=dtype)
    labels = torch.arange(way).repeat_interleave(torch.tensor(counts))[None] if counts else None
    task = make_task({"map": support}, {"map": query}, way, None if counts else shot, labels)
    return query, support, task


def cosine(x, y):
    lengths = math.sqrt(math.fsum(a * a for a in x)) * math.sqrt(math.fsum(a * a for a in y))
    return math.fsum(a * b for a, b in zip(x, y, strict=True)) / lengths


def naive_scores(query, support, task, k):
    """Sum over a query's descriptors of the k largest cosines, one pair at a time."""
    scores = np.zeros((len(query), query.shape[1], task.way))
    for t, q, n in np.ndindex(scores.shape):
        of_class = [i for i in range(support.shape[1]) if task.support_y[t, i] == n]
        pool = [y for i in of_class for y in support[t, i].tolist()]
        for x in query[t, q].tolist():
            scores[t, q, n] += math.fsum(sorted((cosine(x, y) for y in pool), reverse=True)[:k])
    return scores


@given(st.integers(1, 3), st.integers(1, 3), st.integers(2, 4), st.integers(1, 3), st.integers(1, 4))
def test_equals_the_loop(tasks, queries, way, shot, k):
    query, support, task = problem(tasks, queries, way, shot)
    expected = naive_scores(query, support, task, k)
    assert np.allclose(local_scores(query, support, task, k).numpy(), expected, rtol=0, atol=1e-12)
    single = local_scores(query.float(), support.float(), task, k)
    assert np.allclose(single.numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
@given(st.lists(st.integers(1, 4), min_size=2, max_size=4))
def test_unequal_shots(k, counts):
    query, support, task = problem(1, way=len(counts), counts=counts)
    result = local_scores(query, support, task, k).numpy()
    assert np.allclose(result, naive_scores(query, support, task, k), rtol=0, atol=1e-12)


@pytest.mark.parametrize("budget", [1, 60, 200, 10**6])
@pytest.mark.parametrize("k", [1, 3])
def test_blocks_change_nothing(monkeypatch, budget, k):
    query, support, task = problem(3)
    expected = naive_scores(query, support, task, k)
    monkeypatch.setattr(local_descriptors, "CPU_BLOCK", budget)
    query, support = query.requires_grad_(), support.requires_grad_()
    result = local_scores(query, support, task, k)
    assert np.allclose(result.detach().numpy(), expected, rtol=0, atol=1e-12)
    gradients = torch.autograd.grad((result * drawn(*result.shape, seed=2)).sum(), (query, support))
    plain = torch.einsum("tqrc,tsc->tqrs", unit(query), unit(support).flatten(1, 2)).unflatten(3, (task.way, -1))
    plain = plain.topk(k, dim=4).values.sum((2, 4))
    expected = torch.autograd.grad((plain * drawn(*result.shape, seed=2)).sum(), (query, support))
    for computed, reference in zip(gradients, expected, strict=True):
        assert torch.allclose(computed, reference, rtol=0, atol=1e-12)


def test_no_block_is_larger_than_the_budget(monkeypatch):
    blocks = []
    largest = local_descriptors._largest
    counted = lambda x, *rest: blocks.append(x.numel()) or largest(x, *rest)  # noqa: E731
    monkeypatch.setattr(local_descriptors, "_largest", counted)
    monkeypatch.setattr(local_descriptors, "CPU_BLOCK", 500)
    query, support, task = problem(4, queries=7, shot=3)  # 28 x 45 similarities a task
    local_scores(query, support, task)
    assert max(blocks) <= 500 < sum(blocks) == 4 * 28 * 45


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("counts", [None, [1, 3, 2]])
def test_gradients(k, counts):
    query, support, task = problem(1, counts=counts)
    inputs = (query.requires_grad_(), support.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, s: local_scores(q, s, task, k), inputs)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_both_ways_to_the_largest_agree(k):
    similarity = drawn(2, 11, 700, dtype=torch.float32)
    values, places = local_descriptors._largest(similarity, [5, 11], k, keep=True)
    other_values, other_places = local_descriptors._largest_by_torch(similarity, [5, 11], k)
    assert torch.equal(values, other_values)
    assert torch.equal(places.long(), other_places)
    alone, nothing = local_descriptors._largest(similarity, [5, 11], k, keep=False)
    assert torch.equal(alone, values)
    assert nothing is None


def test_pytorch_keeps_its_number_of_threads():
    """In a process of its own: numba starts its threads once, with all processors."""
    code = """
import torch
from core.ops.local_descriptors_compiled import largest
torch.set_num_threads(1)
largest(torch.rand(1, 6, 5), [3, 6], 1, None)
print(torch.get_num_threads(), torch.__config__.parallel_info().split("omp_get_max_threads() : ")[1][0])
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    ).stdout
    assert printed.split() == ["1", "1"]


def test_equal_descriptors_each_count():
    """A background of equal descriptors must not count once."""
    query, support = drawn(1, 1, 1, 6), drawn(1, 2, 1, 6, seed=1).expand(-1, -1, 4, -1).contiguous()
    task = make_task({"map": support}, {"map": query}, 2, 1)
    assert torch.allclose(local_scores(query, support, task, 3), 3 * local_scores(query, support, task, 1))
    similarity = torch.zeros(1, 8, 3)
    _, places = local_descriptors._largest(similarity, [4, 8], 3, keep=True)
    assert places[0, :, :, 0].tolist() == [[0, 1, 2], [4, 5, 6]]


def test_a_zero_descriptor_matches_nothing_and_has_a_finite_gradient():
    query, support, task = problem(1)
    query[0, 0, 0] = 0
    query, support = query.requires_grad_(), support.requires_grad_()
    result = local_scores(query, support, task)
    expected = local_scores(query[:, :1, 1:], support, task)
    assert torch.allclose(result[:, :1], expected, atol=1e-12)
    result.sum().backward()
    assert query.grad.abs().max() < 100
    assert (unit(torch.zeros(3)) == 0).all()


def test_too_few_descriptors_is_one_sentence():
    query, support, task = problem(1, counts=[2, 1, 3])
    with pytest.raises(UserError, match=r"^METHOD\.ARGS\.k is 6, but a class of this task has 5 local descriptors; "):
        local_scores(query, support, task, 6)


def test_descriptors_are_the_positions_row_by_row():
    maps = drawn(2, 3, 6, 4, 5)
    result = descriptors(maps)
    assert result.shape == (2, 3, 20, 6)
    for row, column in np.ndindex(4, 5):
        assert torch.equal(result[:, :, 5 * row + column], maps[..., row, column])


def test_pyramid_averages_the_map():
    maps = drawn(2, 3, 6, 5, 5)
    result = pyramid(maps, [5, 2, 1])
    assert result.shape == (2, 3, 30, 6)
    assert torch.allclose(result[:, :, :25], descriptors(maps))
    spans = [(0, 3), (2, 5)]  # cells of an uneven division overlap
    for cell, ((top, bottom), (left, right)) in enumerate((a, b) for a in spans for b in spans):
        expected = maps[..., top:bottom, left:right].mean((-1, -2))
        assert torch.allclose(result[:, :, 25 + cell], expected)
    assert torch.allclose(result[:, :, 29], maps.mean((-1, -2)))


@pytest.mark.parametrize("counts", [None, [1, 3, 2]])
def test_class_covariances_equal_numpys(counts):
    _, support, task = problem(1 if counts else 2, counts=counts)
    covariance = class_covariances(support, task)
    for t, n in np.ndindex(*covariance.shape[:2]):
        of_class = support[t, task.support_y[t] == n].flatten(0, 1).numpy()
        assert np.allclose(covariance[t, n].numpy(), np.cov(of_class, rowvar=False), atol=1e-12)


def test_quadratic_forms():
    vectors, matrices = drawn(2, 3, 4), drawn(2, 5, 4, 4, seed=1)
    result = quadratic_forms(vectors, matrices)
    for t, n, r in np.ndindex(2, 5, 3):
        x = vectors[t, r]
        assert torch.allclose(result[t, n, r], x @ matrices[t, n] @ x)


@pytest.mark.parametrize("counts", [None, [1, 3, 2]])
@pytest.mark.parametrize("k", [1, 3])
def test_matches_are_the_cosines_that_the_scores_sum(counts, k):
    query, support, task = problem(1 if counts else 2, counts=counts)
    cosines = matches(query, support, task, k)
    assert cosines.shape == (*query.shape[:2], support.shape[1], query.shape[2], support.shape[2])
    scores = torch.zeros(*cosines.shape[:2], task.way, dtype=torch.float64)
    for t, q, n in np.ndindex(*scores.shape):
        of_class = cosines[t, q, task.support_y[t] == n]  # [K, r, s]
        assert ((of_class != 0).sum((0, 2)) == k).all()
        scores[t, q, n] = of_class.sum()
    assert torch.allclose(scores, local_scores(query, support, task, k), atol=1e-12)
