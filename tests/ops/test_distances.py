"""Distances against loops over pairs in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.ops.distances import cosine, squared_euclidean


def pair_of_sets(tasks=2, queries=5, way=3, width=7, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(tasks, queries, width, generator=generator, dtype=torch.float64)
    vectors = torch.randn(tasks, way, width, generator=generator, dtype=torch.float64)
    return query.to(dtype), vectors.to(dtype)


def by_pairs(query, vectors, distance):
    return np.array(
        [[[distance(q, v) for v in task_v] for q in task_q] for task_q, task_v in zip(query, vectors, strict=True)]
    )


def naive_squared(query, vectors):
    pairs = (query.tolist(), vectors.tolist())
    return by_pairs(*pairs, lambda q, v: math.fsum((a - b) ** 2 for a, b in zip(q, v, strict=True)))


def naive_cosine(query, vectors):
    def length(x):
        return math.sqrt(math.fsum(a * a for a in x))

    def angle(q, v):
        return math.fsum(a * b for a, b in zip(q, v, strict=True)) / length(q) / length(v)

    return by_pairs(query.tolist(), vectors.tolist(), angle)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("distance", "naive"), [(squared_euclidean, naive_squared), (cosine, naive_cosine)])
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_equals_the_loop(distance, naive, dtype, atol, tasks, queries, way, width, seed):
    pair = pair_of_sets(tasks, queries, way, width, seed, dtype)
    assert np.allclose(distance(*pair).numpy(), naive(*pair), rtol=0, atol=atol * 10)


@pytest.mark.parametrize("distance", [squared_euclidean, cosine])
def test_gradients(distance):
    query, vectors = pair_of_sets()
    assert (squared_euclidean(query, vectors) > 0.1).all()
    assert torch.autograd.gradcheck(distance, (query.requires_grad_(), vectors.requires_grad_()))
    assert torch.autograd.gradgradcheck(distance, (query, vectors))


def test_squared_distance_of_equal_vectors_is_never_negative():
    query = pair_of_sets(1, 50, 1, 300, dtype=torch.float32)[0] * 100
    to_itself = squared_euclidean(query, query)[0].diagonal()
    assert (to_itself >= 0).all()
    assert (to_itself < 1e-5 * query.square().sum(-1)).all()


def test_what_all_vectors_have_in_common_costs_no_digits():
    """Features behind a ReLU lie far from 0 and near each other: the expanded square alone would lose three digits."""
    query, vectors = pair_of_sets(2, 40, 5, 1600)
    query, vectors = (3 + 0.01 * query).float(), (3 + 0.01 * vectors).float()
    exact = (query.double()[:, :, None] - vectors.double()[:, None]).square().sum(-1)
    assert (squared_euclidean(query, vectors) - exact).abs().max() < 1e-6 * exact.max()
    assert torch.equal(squared_euclidean(query, vectors).argmin(-1), exact.argmin(-1))


@pytest.mark.parametrize("way", [1, 3])
def test_gradients_are_finite_where_vectors_are_equal(way):
    query, vectors = torch.ones(1, 2, 4, requires_grad=True), torch.ones(1, way, 4, requires_grad=True)
    squared_euclidean(query, vectors).sum().backward()
    assert (query.grad == 0).all()
    assert (vectors.grad == 0).all()


def test_cosine_ignores_lengths():
    query, vectors = pair_of_sets()
    assert torch.allclose(cosine(query * 1e3, vectors * 1e-3), cosine(query, vectors), atol=1e-12)
    assert torch.allclose(cosine(query, query).diagonal(dim1=1, dim2=2), torch.ones(2, 5, dtype=torch.float64))
    assert (cosine(torch.zeros_like(query), vectors) == 0).all()
