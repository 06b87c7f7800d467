"""Labels that agree with their neighbours', against loops over one task in float64."""

import itertools

import numpy as np
import pytest
import torch

from core.ops.distances import squared_euclidean
from core.ops.neighbours import agreeing_logits, nearest_neighbours
from tests.methods.small import drawn


def neighbours_of(vectors, count):
    return nearest_neighbours(squared_euclidean(vectors, vectors), count)


def test_each_vector_has_its_nearest_others():
    vectors = drawn(3, 11, 5)
    weights = neighbours_of(vectors, 2)
    for t in range(3):
        for i in range(11):
            others = sorted((float((vectors[t, i] - vectors[t, j]).norm()), j) for j in range(11) if j != i)
            assert weights[t, i].nonzero()[:, 0].tolist() == sorted(j for _, j in others[:2])
    assert set(weights.unique().tolist()) == {0, 1}


def test_neighbours_are_at_most_all_others():
    assert torch.equal(neighbours_of(drawn(1, 3, 5), 7)[0], 1 - torch.eye(3, dtype=torch.float64))


def softmax(rows):
    powers = np.exp(rows - rows.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_logits_follow_the_bound_updates():
    """Card 16, LaplacianShot: Y <- softmax(-a + lambda W Y), from Y = softmax(-a)."""
    unary, weights = -drawn(3, 9, 4).square(), neighbours_of(drawn(3, 9, 5, seed=1), 2)
    computed = agreeing_logits(unary, weights, 0.7, 20)
    for t in range(3):
        labels = softmax(unary[t].numpy())
        for _ in range(20):
            labels = softmax(unary[t].numpy() + 0.7 * weights[t].numpy() @ labels)
        np.testing.assert_allclose(softmax(computed[t].numpy()), labels, atol=1e-12)


@pytest.mark.parametrize(("pull", "steps"), [(0.0, 20), (0.7, 0)])
def test_without_pull_or_steps_the_logits_stay(pull, steps):
    unary = -drawn(2, 9, 4).square()
    assert torch.equal(agreeing_logits(unary, torch.ones(2, 9, 9, dtype=torch.float64), pull, steps), unary)


def test_the_energy_never_rises():
    """The paper's eq. 11 on a symmetric graph: sum of y log y + a y - lambda/2 * W Y y; every step lowers it."""
    unary, graph = -drawn(1, 12, 4).square()[0], neighbours_of(drawn(1, 12, 5, seed=1), 3)[0]
    graph = graph @ graph.T / 9  # symmetric and positive semidefinite, as the bound assumes

    def energy(steps):
        labels = agreeing_logits(unary[None], graph[None], 1.5, steps)[0].softmax(-1)
        return float((labels * (labels.log() - unary)).sum() - 0.75 * ((graph @ labels) * labels).sum())

    energies = [energy(steps) for steps in range(8)]
    assert all(after <= before + 1e-12 for before, after in itertools.pairwise(energies))
    assert energies[-1] < energies[0] - 0.01
