"""The compiled simplex itself: problems too large for one word of bits, ties, and the cap on pivots."""

import numpy as np
import pytest

from core.errors import UserError
from core.ops.emd import network_simplex
from core.ops.emd.network_simplex import solve_many
from core.ops.emd.solvers import simplex
from tests.ops.emd.problems import drawn, optimum, problems


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 7), (70, 3), (40, 90)])
def test_flow_and_duals_prove_each_other(n, m):
    problem = problems(2, n, m)
    cost, a, b = (part.numpy() for part in problem)
    flow, u, v = np.empty_like(cost), np.empty_like(a), np.empty_like(b)
    assert solve_many(cost, a, b, flow, u, v, 10_000) == 0
    assert np.allclose(flow.sum(2), a, atol=1e-9)
    assert np.allclose(flow.sum(1), b, atol=1e-9)
    assert (cost - u[:, :, None] - v[:, None]).min() > -1e-9
    assert np.allclose((cost * flow).sum((1, 2)), (a * u).sum(1) + (b * v).sum(1), atol=1e-9)
    assert (u[:, 0] == 0).all()


def test_ties_everywhere_do_not_stall():
    cost, weights = (2 * drawn(1, 16, 16)).round(), drawn(1, 16).mul(0).add(1)
    flow, *_ = simplex(cost, weights, weights.clone())
    assert (cost * flow).sum().item() == pytest.approx(optimum(cost[0], weights[0], weights[0]), abs=1e-9)


def test_the_pivot_cap_raises(monkeypatch):
    full = network_simplex.solve_many
    monkeypatch.setattr(network_simplex, "solve_many", lambda *arguments: full(*arguments[:-1], 3))
    with pytest.raises(UserError, match=r"left \d+ of 4 problems unsolved .* set solver: interior_point"):
        simplex(*problems(4, 25, 25))
