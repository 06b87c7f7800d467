"""The quadratic problems of the interior-point method against their optimality conditions."""

import pytest
import torch

from core.ops.emd.interior_point import QP_STRENGTH, interior_point, quadratic_form
from tests.ops.emd.problems import drawn, problems


@pytest.mark.parametrize("strength", [1e-6, 1e-3, 1e-1, 10.0])
def test_the_quadratic_problem_meets_its_optimality_conditions(strength):
    cost, a, b = problems(5, 8, 6)
    flow, u, v, added = interior_point(cost, a, b, strength)
    slack = cost + strength * flow - u[:, :, None] - v[:, None]
    assert slack.min() >= -1e-8
    assert flow.min() >= 0
    assert (slack * flow).sum((1, 2)).max() < 1e-8 * (1 + strength)
    torch.testing.assert_close(flow.sum(2), a, rtol=0, atol=1e-8)
    torch.testing.assert_close(added, strength / 2 * flow.square().sum((1, 2)))


def test_a_strong_quadratic_term_has_a_closed_form():
    """Without active bounds X = (u + v - C) / l, and the marginals give u and v."""
    cost, a, b = 0.01 * drawn(1, 4, 4), torch.ones(1, 4).double(), torch.ones(1, 4).double()
    strength = 1.0
    row, column, mean = cost.mean(2, keepdim=True), cost.mean(1, keepdim=True), cost.mean()
    expected = 0.25 - (cost - row - column + mean) / strength
    torch.testing.assert_close(interior_point(cost, a, b, strength)[0], expected, rtol=0, atol=1e-8)


def test_form_qp_minimises_its_own_objective():
    cost, a, b = problems(4, 6, 6)
    flow, u, v, _ = quadratic_form(cost, a, b)
    total = (cost * flow).sum((1, 2))[:, None, None]
    slope = total * cost + QP_STRENGTH * flow  # of 1/2 <C, X>^2 + l/2 |X|^2
    slack = slope - total * (u[:, :, None] + v[:, None])
    assert slack.min() >= -1e-7
    assert (slack * flow).abs().max() < 1e-7
