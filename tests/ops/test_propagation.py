"""Label propagation against its equations, written as loops over one task in float64."""

import numpy as np
import torch
import torch.nn.functional as F

from core.ops.distances import squared_euclidean
from core.ops.propagation import gaussian_weights, propagation
from tests.methods.small import drawn

UNIT = F.normalize(drawn(3, 10, 4), dim=-1)
COSINES = UNIT @ UNIT.transpose(1, 2)


def by_the_card(cosines, neighbours, power, alpha):
    """Card 16, iLPC: kNN graph, weights cos^3, W + W^T, D^-1/2 W D^-1/2, (I - .8 W)^-1."""
    n = len(cosines)
    weights = np.zeros((n, n))
    for i in range(n):
        others = sorted((j for j in range(n) if j != i), key=lambda j: -cosines[i, j])
        for j in others[:neighbours]:
            weights[i, j] = max(cosines[i, j], 0) ** power
    weights = weights + weights.T
    sums = weights.sum(1)
    scale = np.diag([1 / np.sqrt(s) if s else 1 for s in sums])
    return np.linalg.inv(np.eye(n) - alpha * scale @ weights @ scale)


def test_card_16_labels_spread_over_the_graph():
    spreading = propagation(COSINES, 3, 3.0, 0.8)
    for t in range(3):
        np.testing.assert_allclose(spreading[t], by_the_card(COSINES[t].numpy(), 3, 3.0, 0.8), atol=1e-10)


def test_without_spread_labels_stay_where_they_are():
    torch.testing.assert_close(propagation(COSINES, 3, 3.0, 0.0), torch.eye(10, dtype=torch.float64).expand(3, -1, -1))


def test_a_vector_without_neighbours_keeps_its_label():
    far = torch.eye(4, dtype=torch.float64)[None] * 2 - 1  # all cosines of others are -1
    torch.testing.assert_close(propagation(far, 2, 3.0, 0.8)[0], torch.eye(4, dtype=torch.float64))


def test_gaussian_weights_are_in_units_of_the_spread_of_the_task():
    squares = squared_euclidean(*2 * [drawn(2, 5, 3)])
    squares.diagonal(dim1=1, dim2=2).zero_()
    weights = gaussian_weights(squares)
    torch.testing.assert_close(gaussian_weights(7 * squares), weights)
    for t in range(2):
        others = squares[t][~torch.eye(5, dtype=torch.bool)]
        expected = (-squares[t] / others.std()).exp().fill_diagonal_(0)
        torch.testing.assert_close(weights[t], expected)


def test_one_vector_has_no_weight_and_a_finite_gradient():
    squares = torch.zeros(2, 1, 1, dtype=torch.float64, requires_grad=True)
    weights = gaussian_weights(squares)
    weights.sum().backward()
    assert (weights == 0).all()
    assert (squares.grad == 0).all()


def test_vectors_that_are_equally_far_apart_have_finite_weights():
    weights = gaussian_weights((1 - torch.eye(4, dtype=torch.float64))[None])
    assert weights.isfinite().all()
