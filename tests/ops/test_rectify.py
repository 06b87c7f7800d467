"""Rectified prototypes against the paper's equations, written as loops over one task in float64."""

import math

import numpy as np
import torch

from core.ops.rectify import rectified, shifted
from core.ops.span import Span
from tests.methods.small import drawn


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def rectified_naively(vectors, prototypes, scale):
    """Card 16, BD-CSPN: each vector to the class of largest cosine; means of W_xn x over them."""
    members = [[] for _ in prototypes]
    for x in vectors:
        cosines = [cosine(x, p) for p in prototypes]
        total = sum(math.exp(scale * c) for c in cosines)
        label = int(np.argmax(cosines))
        members[label].append(math.exp(scale * cosines[label]) / total * x)
    return np.stack([np.mean(own, axis=0) if own else p for own, p in zip(members, prototypes, strict=True)])


def in_space(vectors, prototypes):
    """The rectified prototypes as vectors, from rows in the span of all."""
    span, rows, prototype_rows = Span.of(vectors, prototypes)
    return rectified(span, rows, prototype_rows, 10.0) @ torch.cat([vectors, prototypes], dim=1)


def test_rectified_prototypes_are_weighted_means_of_their_members():
    vectors, prototypes = drawn(4, 20, 6), drawn(4, 3, 6, seed=1)
    computed = in_space(vectors, prototypes)
    for t in range(4):
        expected = rectified_naively(vectors[t].numpy(), prototypes[t].numpy(), 10.0)
        np.testing.assert_allclose(computed[t], expected, atol=1e-12)


def test_a_class_without_members_keeps_its_prototype():
    prototypes = torch.eye(3, dtype=torch.float64)[None]
    vectors = prototypes[:, :2].repeat(1, 4, 1)
    computed = in_space(vectors, prototypes)
    assert torch.equal(computed[:, 2], prototypes[:, 2])
    assert (computed[0, :2].norm(dim=1) < 1).all()  # the weights are not divided out


def test_shifted_queries_have_the_mean_of_the_supports():
    support, query = drawn(2, 5, 6), drawn(2, 9, 6, seed=1)
    moved = shifted(query, support)
    torch.testing.assert_close(moved.mean(1), support.mean(1))
    torch.testing.assert_close(moved - query, (moved - query)[:, :1].expand(-1, 9, -1))
