"""Spread of classes against loops over images and pairs."""

import itertools
import math

import pytest
import torch

from core.ops.class_spread import class_spread


def naive(vectors, labels):
    """Variance between and within classes of normalised vectors."""
    of_class = {}
    for z, y in zip(vectors, labels, strict=True):
        of_class.setdefault(y, []).append([value / math.hypot(*z) for value in z])
    means = {y: [math.fsum(column) / len(zs) for column in zip(*zs, strict=True)] for y, zs in of_class.items()}
    within = [sum(math.dist(z, means[y]) ** 2 for z in zs) / len(zs) for y, zs in of_class.items()]
    pairs = [math.dist(a, b) ** 2 for a, b in itertools.combinations(means.values(), 2)]
    return sum(pairs) / len(pairs), sum(within) / len(within)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [5, 0, 5, 5, 3, 0], [0, 1, 2, 3, 4, 5]])
def test_equals_the_loop(labels):
    vectors = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spread = class_spread(vectors, torch.tensor(labels))
    assert spread == pytest.approx(naive(vectors.tolist(), labels), abs=1e-12)


def test_the_length_of_vectors_does_not_matter():
    vectors, labels = torch.randn(8, 3), torch.arange(8) % 3
    factors = torch.linspace(0.1, 9, 8)[:, None]
    assert class_spread(factors * vectors, labels) == pytest.approx(class_spread(vectors, labels), rel=1e-5)
