"""BDC matrices against a loop over pairs of channels in float64."""

import math

import numpy as np
import pytest
import torch

from core.ops import bdc
from core.ops.bdc import bdc_vectors


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(image, log_scale):
    """One map, nested lists [d][h * w], to the upper triangle of its matrix."""
    d = len(image)
    a = [
        [math.sqrt(math.exp(log_scale) * sum((p - q) ** 2 for p, q in zip(x, y, strict=True)) + 1e-5) for y in image]
        for x in image
    ]
    row = [sum(line) / d for line in a]
    column = [sum(a[i][j] for i in range(d)) / d for j in range(d)]
    total = sum(row) / d
    return [a[i][j] - row[i] - column[j] + total for i in range(d) for j in range(i, d)]


@pytest.mark.parametrize("log_scale", [-2.0, 0.0, 0.7])
def test_vectors(log_scale):
    maps = drawn(3, 5, 2, 4)
    expected = [naive(image.flatten(1).tolist(), log_scale) for image in maps]
    assert np.allclose(bdc_vectors(maps, torch.tensor(log_scale, dtype=torch.float64)), expected, rtol=0, atol=1e-12)


def test_rows_and_columns_of_the_matrix_sum_to_zero():
    triangle = bdc_vectors(drawn(1, 6, 3, 3), torch.tensor(0.1).double())[0]
    matrix = torch.zeros(6, 6, dtype=torch.float64)
    matrix[tuple(torch.triu_indices(6, 6))] = triangle
    matrix = matrix + matrix.triu(1).T
    assert torch.allclose(matrix.sum(0), torch.zeros(6).double(), atol=1e-12)


def test_a_few_images_at_a_time_give_the_same(monkeypatch):
    maps, log_scale = drawn(7, 4, 3, 3), torch.tensor(0.3).double()
    expected = bdc_vectors(maps, log_scale)
    monkeypatch.setattr(bdc, "AT_ONCE", 2 * 4**2)
    assert torch.equal(bdc_vectors(maps, log_scale), expected)


def test_gradients():
    maps, log_scale = drawn(2, 4, 2, 2).requires_grad_(), torch.tensor(0.2).double().requires_grad_()
    assert torch.autograd.gradcheck(bdc_vectors, (maps, log_scale))


def test_gradient_is_finite_where_channels_are_equal():
    maps = torch.ones(1, 4, 2, 2, requires_grad=True)
    bdc_vectors(maps, torch.tensor(0.0)).sum().backward()
    assert maps.grad.isfinite().all()
