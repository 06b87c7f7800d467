"""Distances of Gaussians against their closed forms, pair by pair in float64."""

import numpy as np
import pytest
import torch

from core.ops.gaussians import gaussian, kl_divergence, wasserstein

TASKS, QUERIES, WAY = 2, 3, 4


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments(points):
    """Mean and sample covariance of rows, one product at a time."""
    count, width = len(points), len(points[0])
    mean = [sum(p[c] for p in points) / count for c in range(width)]
    covariance = np.zeros((width, width))
    for p in points:
        for a in range(width):
            for b in range(width):
                covariance[a, b] += (p[a] - mean[a]) * (p[b] - mean[b]) / max(1, count - 1)
    return np.array(mean), covariance


def kl_of_a_pair(query, of):
    (mean_q, cov_q), (mean_n, cov_n) = (moments(points.tolist()) for points in (query, of))
    cov_q, cov_n = cov_q + 0.01 * np.eye(len(mean_q)), cov_n + 0.01 * np.eye(len(mean_q))
    inverse, d = np.linalg.inv(cov_n), mean_q - mean_n
    log_dets = [np.log(np.linalg.eigvalsh(cov)).sum() for cov in (cov_n, cov_q)]
    return (np.trace(inverse @ cov_q) + d @ inverse @ d - len(d) + log_dets[0] - log_dets[1]) / 2


def wasserstein_of_a_pair(query, of):
    (mean_q, cov_q), (mean_n, cov_n) = (moments(points.tolist()) for points in (query, of))
    return ((mean_q - mean_n) ** 2).sum() + ((cov_q - cov_n) ** 2).sum()


def sets(per_query, width, per_class):
    """Descriptors of queries [T, Q, r, C], and of classes [T, r_n, C] with counts of their own."""
    return drawn(TASKS, QUERIES, per_query, width), [
        drawn(TASKS, count, width, seed=n + 1) * (0.5 + n) + n for n, count in enumerate(per_class)
    ]


SHAPES = [(6, 4, [5, 9, 2, 6]), (3, 7, [3, 30, 8, 3]), (1, 3, [1, 1, 5, 2]), (9, 9, [9, 9, 9, 9])]


@pytest.mark.parametrize(("per_query", "width", "per_class"), SHAPES)
@pytest.mark.parametrize(
    ("batched", "of_a_pair"), [(kl_divergence, kl_of_a_pair), (wasserstein, wasserstein_of_a_pair)]
)
def test_distances_are_the_closed_forms(batched, of_a_pair, per_query, width, per_class):
    query, classes = sets(per_query, width, per_class)
    computed = batched(gaussian(query), [gaussian(of) for of in classes])
    expected = [[[of_a_pair(query[t, q], of[t]) for of in classes] for q in range(QUERIES)] for t in range(TASKS)]
    assert computed.shape == (TASKS, QUERIES, WAY)
    np.testing.assert_allclose(computed.numpy(), expected, rtol=1e-10, atol=1e-10)


def test_the_covariance_is_that_of_the_samples():
    points = drawn(3, 8, 5)
    computed = gaussian(points)
    for at in range(3):
        mean, covariance = moments(points[at].tolist())
        np.testing.assert_allclose(computed.mean[at].numpy(), mean, atol=1e-13)
        np.testing.assert_allclose(computed.covariance[at].numpy(), covariance, atol=1e-13)


@pytest.mark.parametrize("distance", [kl_divergence, wasserstein])
def test_the_distance_to_itself_is_zero(distance):
    same = drawn(2, 6, 4)
    computed = distance(gaussian(same[:, None]), [gaussian(same)])
    np.testing.assert_allclose(computed.numpy(), 0, atol=1e-12)


@pytest.mark.parametrize("distance", [kl_divergence, wasserstein])
@pytest.mark.parametrize(("per_query", "width"), [(5, 3), (2, 4)])
def test_gradients(distance, per_query, width):
    query, classes = sets(per_query, width, [3, 5])
    leaves = [x.requires_grad_() for x in (query, *classes)]
    assert torch.autograd.gradcheck(lambda q, *of: distance(gaussian(q), [gaussian(x) for x in of]), leaves)


@pytest.mark.parametrize("scale", [1, 100, 1000])
def test_large_features_are_as_exact(scale):
    query, classes = drawn(1, 3, 25, 64).relu() * scale, [drawn(1, 25 * n, 64, seed=n).relu() * scale for n in (1, 5)]
    query, classes = query.float(), [of.float() for of in classes]
    exact = kl_divergence(gaussian(query.double()), [gaussian(of.double()) for of in classes])
    rough = kl_divergence(gaussian(query), [gaussian(of) for of in classes])
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("width", [16, 640])
def test_single_precision_is_close_where_channels_are_dead(width):
    query, classes = sets(16, width, [16, 80])
    dead = torch.arange(width) % 3 > 0
    query, classes = query.relu() * dead, [of.relu() * dead for of in classes]
    exact = kl_divergence(gaussian(query), [gaussian(of) for of in classes])
    rough = kl_divergence(gaussian(query.float()), [gaussian(of.float()) for of in classes])
    torch.testing.assert_close(rough.double(), exact, rtol=1e-4, atol=1e-3)
