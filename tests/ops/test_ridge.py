"""Ridge reconstruction: loops in float64, both forms of the inverse, padding, gradients."""

import numpy as np
import pytest
import torch

from core.ops import ridge
from core.ops.ridge import reconstruction_error


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def case(m, d):
    """Two tasks, three queries of four descriptors, two classes of m rows."""
    penalty = drawn(2, 2, seed=2).exp()
    return drawn(2, 3, 4, d), drawn(2, 2, m, d, seed=1), penalty, torch.tensor(0.8).double()


def naive(query, rows, penalty, scale):
    """Solve for the coefficients of each descriptor, one after the other."""
    errors = np.zeros((*query.shape[:2], rows.shape[1]))
    for t, q, n in np.ndindex(errors.shape):
        s = rows[t, n].numpy()
        for x in query[t, q].numpy():
            coefficients = np.linalg.solve(s @ s.T + penalty[t, n].item() * np.eye(len(s)), s @ x)
            errors[t, q, n] += ((x - scale.item() * coefficients @ s) ** 2).sum() / query.shape[2]
    return errors


@pytest.mark.parametrize(("m", "d"), [(2, 7), (7, 7), (9, 3), (8, 7)])
def test_both_sides_of_the_choice(m, d):
    problem = case(m, d)
    assert np.allclose(reconstruction_error(*problem), naive(*problem), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("m", "d"), [(2, 7), (9, 3), (5, 5)])
def test_both_forms_of_the_inverse_agree(m, d):
    problem = case(m, d)
    assert torch.allclose(ridge._by_rows(*problem), ridge._by_channels(*problem), rtol=0, atol=1e-11)


@pytest.mark.parametrize("d", [3, 20])
def test_rows_of_zeros_change_nothing(d):
    query, rows, penalty, scale = case(6, d)
    padded = torch.cat([rows, torch.zeros(2, 2, 5, d, dtype=torch.float64)], dim=2)
    expected = reconstruction_error(query, rows, penalty, scale)
    assert torch.allclose(reconstruction_error(query, padded, penalty, scale), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("m", "d"), [(3, 5), (6, 3)])
def test_gradients(m, d):
    assert torch.autograd.gradcheck(reconstruction_error, tuple(x.requires_grad_() for x in case(m, d)))


@pytest.mark.parametrize(("m", "d"), [(25, 640), (125, 64)])
def test_float32_at_the_sizes_of_the_paper(m, d):
    query, rows, penalty, scale = case(m, d)
    query, rows = query / d**0.5, rows / d**0.5
    exact = reconstruction_error(query, rows, penalty, scale)
    errors = reconstruction_error(query.float(), rows.float(), penalty.float(), scale.float())
    torch.testing.assert_close(errors.double(), exact, rtol=1e-4, atol=1e-6)
