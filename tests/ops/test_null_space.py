"""The projection against the null space of a singular value decomposition."""

import torch

from core.ops.null_space import without
from tests.methods.small import drawn


def test_equals_the_null_space_of_a_decomposition():
    directions, vectors = drawn(3, 4, 9), drawn(3, 6, 9, seed=1)
    for e, x, rest in zip(directions, vectors, without(directions, vectors), strict=True):
        basis = torch.linalg.svd(e).Vh[4:].T
        torch.testing.assert_close(rest, x @ basis @ basis.T, rtol=0, atol=1e-9)


def test_card_9_the_projection_kills_the_errors_and_is_idempotent_and_symmetric():
    directions = drawn(2, 4, 9)
    matrix = without(directions, torch.eye(9).double().expand(2, -1, -1))
    assert without(directions, directions).abs().max() < 1e-9
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=1e-9)
    torch.testing.assert_close(matrix, matrix.transpose(1, 2), rtol=0, atol=1e-12)


def test_directions_of_no_length_change_nothing():
    directions, vectors = drawn(2, 2, 5), drawn(2, 3, 5, seed=1)
    zero = torch.zeros(2, 1, 5).double()
    torch.testing.assert_close(without(zero, vectors), vectors)
    more = torch.cat([directions, zero], 1)
    torch.testing.assert_close(without(more, vectors), without(directions, vectors), rtol=0, atol=1e-9)


def test_the_gradient_takes_the_directions_for_constants():
    directions, vectors = drawn(2, 3, 6).requires_grad_(), drawn(2, 4, 6, seed=1).requires_grad_()
    slope = torch.autograd.grad(without(directions, vectors).square().sum(), [directions, vectors], allow_unused=True)
    assert slope[0] is None
    assert torch.autograd.gradcheck(lambda x: without(directions.detach(), x), vectors)
