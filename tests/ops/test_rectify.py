"""Rectified prototypes against the paper's equations, written as loops over one task in float64."""

import math

import numpy as np
import torch

from core.ops.rectify import rectified, shifted, unshifted
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
    return np.stack([np.mean(rows, axis=0) if rows else p for rows, p in zip(members, prototypes, strict=True)])


def in_space(vectors, rows):
    """The rectified prototypes as vectors, from rows in the span of those that are given to classes."""
    span, *_ = Span.of(vectors[:, :2], vectors[:, 2:])
    return rectified(span, rows, 10.0) @ vectors


def test_rectified_prototypes_are_weighted_means_of_their_members():
    vectors, rows = drawn(4, 20, 6), drawn(4, 3, 20, seed=1)
    computed, prototypes = in_space(vectors, rows), rows @ vectors
    for t in range(4):
        expected = rectified_naively(vectors[t].numpy(), prototypes[t].numpy(), 10.0)
        np.testing.assert_allclose(computed[t], expected, atol=1e-12)


def test_a_class_without_members_keeps_its_prototype():
    vectors = torch.eye(3, dtype=torch.float64)[:2].repeat(4, 1)[None]
    rows = torch.eye(8, dtype=torch.float64)[None, :3].clone()
    rows[0, 2, :2] = torch.tensor([-1.0, -2.0])  # opposite to all
    rows[0, 2, 2] = 0
    computed = in_space(vectors, rows)
    assert torch.equal(computed[:, 2], (rows @ vectors)[:, 2])
    assert (computed[0, :2].norm(dim=1) < 1).all()  # the weights are not divided out


def test_shifted_queries_have_the_mean_of_the_supports():
    support, query = drawn(2, 5, 6), drawn(2, 9, 6, seed=1)
    moved = query + support.mean(1, keepdim=True) - query.mean(1, keepdim=True)
    span = shifted(Span.of(support, query)[0], 5)
    torch.testing.assert_close(span.gram, Span.of(support, moved)[0].gram)
    torch.testing.assert_close(span.gram[:, :5].mean(1), span.gram[:, 5:].mean(1))


def test_rows_in_moved_queries_become_rows_in_the_queries():
    support, query, rows = drawn(2, 5, 6), drawn(2, 9, 6, seed=1), drawn(2, 3, 14, seed=2)
    moved = query + support.mean(1, keepdim=True) - query.mean(1, keepdim=True)
    in_moved = rows @ torch.cat([support, moved], dim=1)
    torch.testing.assert_close(unshifted(rows, 5) @ torch.cat([support, query], dim=1), in_moved)
