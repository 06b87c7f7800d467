"""Products in a span against those of the vectors themselves."""

import torch

from core.ops.distances import cosine, squared_euclidean
from core.ops.span import Span
from tests.methods.small import drawn

SUPPORT, QUERY = drawn(3, 4, 6), drawn(3, 7, 6, seed=1)


def test_rows_of_supports_and_queries_stand_for_them():
    span, support, query = Span.of(SUPPORT, QUERY)
    torch.testing.assert_close(support @ span.gram @ query.transpose(1, 2), SUPPORT @ QUERY.transpose(1, 2))


def test_combinations_have_the_distances_and_cosines_of_their_vectors():
    span, *_ = Span.of(SUPPORT, QUERY)
    rows, vectors = drawn(3, 2, 11, seed=3), torch.cat([SUPPORT, QUERY], dim=1)
    torch.testing.assert_close(span.squared_between_all(), squared_euclidean(vectors, vectors))
    torch.testing.assert_close(span.squared_to_all(rows), squared_euclidean(rows @ vectors, vectors))
    torch.testing.assert_close(span.cosines_to_all(rows), cosine(rows @ vectors, vectors))
    assert span.double().gram.dtype == torch.float64


def test_a_vector_of_length_0_has_the_cosine_0():
    span, support, _ = Span.of(0 * SUPPORT, QUERY)
    assert (span.cosines_to_all(support) == 0).all()
