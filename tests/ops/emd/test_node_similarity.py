"""Similarities and weights of nodes, a pair at a time."""

import numpy as np
import pytest
import torch

from core.ops.emd.node_similarity import LEAST_WEIGHT, node_similarity


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.3


@pytest.mark.parametrize("centred", [True, False])
def test_equals_the_loop(centred):
    query, classes = drawn(2, 3, 4, 6), drawn(2, 5, 7, 6, seed=1)
    cosines, (of_query, of_class) = node_similarity(query, classes, centred)
    assert cosines.shape == (2, 3, 5, 4, 7)
    q, c = query.numpy(), classes.numpy()
    for t, i, n in np.ndindex(2, 3, 5):
        for p, r in np.ndindex(4, 7):
            one, two = (x - x.mean() if centred else x for x in (q[t, i, p], c[t, n, r]))
            expected = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
            assert cosines[t, i, n, p, r].item() == pytest.approx(expected, abs=1e-12)
        weights = np.maximum(q[t, i] @ c[t, n].mean(0), 0) + LEAST_WEIGHT
        assert np.allclose(of_query[t, i, n].numpy(), weights)
        weights = np.maximum(c[t, n] @ q[t, i].mean(0), 0) + LEAST_WEIGHT
        assert np.allclose(of_class[t, i, n].numpy(), weights)


@pytest.mark.parametrize(("deviation", "close"), [(1e-2, 1e-5), (1e-3, 1e-4), (1e-4, 1e-2)])
def test_a_small_deviation_beside_a_large_mean(deviation, close):
    query, classes = 1 + deviation * drawn(1, 3, 4, 640).float(), 1 + deviation * drawn(1, 5, 7, 640, seed=1).float()
    exact, _ = node_similarity(query.double(), classes.double(), True)
    rough, _ = node_similarity(query, classes, True)
    torch.testing.assert_close(rough.double(), exact, rtol=0, atol=close)


@pytest.mark.parametrize("centred", [True, False])
def test_gradients(centred):
    inputs = drawn(1, 2, 3, 5).requires_grad_(), drawn(1, 2, 3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, c: node_similarity(q, c, centred)[0], inputs)
    assert torch.autograd.gradcheck(lambda q, c: node_similarity(q, c, centred)[1], inputs)


def test_a_zero_node_is_like_nothing_and_has_a_finite_gradient():
    query, classes = drawn(1, 1, 3, 4), drawn(1, 2, 3, 4)
    query[0, 0, 0] = 0
    query.requires_grad_()
    cosines, _ = node_similarity(query, classes, True)
    assert (cosines[0, 0, :, 0] == 0).all()
    cosines.sum().backward()
    assert query.grad.isfinite().all()
