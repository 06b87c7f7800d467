"""Every solver against SciPy's HiGHS, and the layer's gradients against finite differences."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from core.errors import UserError
from core.ops.emd.interior_point import QP_STRENGTH, interior_point, quadratic_form
from core.ops.emd.problem import emd, emd_logits, solver_named
from core.ops.emd.solvers import simplex

EXACT = ["simplex", "interior_point"]


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problems(k, n, m, seed=0):
    cost, a, b = 2 * drawn(k, n, m, seed=seed), drawn(k, n, seed=seed + 1) + 1e-3, drawn(k, m, seed=seed + 2) + 1e-3
    return cost, a, b * a.sum(1, keepdim=True) / b.sum(1, keepdim=True)


def optimum(cost, a, b):
    """One problem by linprog."""
    n, m = cost.shape
    equations = np.concatenate([np.eye(n).repeat(m, 1), np.tile(np.eye(m), n)])
    totals = torch.cat([a, b]).numpy()
    # The rows' sum is the columns': one equation is left out.
    found = linprog(cost.flatten().numpy(), A_eq=equations[:-1], b_eq=totals[:-1], method="highs")
    assert found.success
    return found.fun


DEGENERATE = {
    "equal costs": (torch.ones(2, 5, 7), drawn(2, 5), drawn(2, 7, seed=1)),
    "no cost": (torch.zeros(2, 4, 4), torch.ones(2, 4), torch.ones(2, 4)),
    "equal weights": (drawn(4, 8, 8), torch.ones(4, 8), torch.ones(4, 8)),
    "integers": ((3 * drawn(6, 9, 9)).floor(), (3 * drawn(6, 9, seed=1)).ceil(), (2 * drawn(6, 9, seed=2)).ceil()),
    "zero weights": (drawn(6, 8, 8), (3 * drawn(6, 8, seed=1)).floor(), (2 * drawn(6, 8, seed=2)).floor()),
    "one row": (drawn(3, 1, 6), torch.ones(3, 1), drawn(3, 6)),
    "one column": (drawn(3, 6, 1), drawn(3, 6), torch.ones(3, 1)),
    "identical sets": (torch.cdist(drawn(1, 9, 2), drawn(1, 9, 2)), torch.ones(1, 9), torch.ones(1, 9)),
    "more than 64 nodes": (drawn(2, 40, 50), drawn(2, 40, seed=1), drawn(2, 50, seed=2)),
}


def is_solved(solve, cost, a, b, tolerance):
    """Optimal value, feasible flow and duals, and no gap between them."""
    cost, a, b = (part.double() for part in (cost, a, b))
    b = b * a.sum(1, keepdim=True) / b.sum(1, keepdim=True)
    value, flow, u, v = emd(cost, a, b, solve)
    for k in range(len(cost)):
        assert value[k].item() == pytest.approx(optimum(cost[k], a[k], b[k]), rel=tolerance, abs=tolerance)
    scale = a.sum(1).max().item()
    assert flow.min() >= 0
    torch.testing.assert_close(flow.sum(2), a, rtol=0, atol=tolerance * scale)
    torch.testing.assert_close(flow.sum(1), b, rtol=0, atol=tolerance * scale)
    assert (cost - u[:, :, None] - v[:, None]).min() >= -tolerance
    torch.testing.assert_close((a * u).sum(1) + (b * v).sum(1), value, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize(("n", "m"), [(9, 9), (13, 13), (25, 25), (25, 13), (3, 12)])
def test_finds_the_optimum(solver, n, m):
    is_solved(solver_named(solver), *problems(12, n, m), tolerance=1e-9)


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_problems_are_solved(solver, name):
    is_solved(solver_named(solver), *DEGENERATE[name], tolerance=1e-9 if solver == "simplex" else 1e-8)


def test_no_weight_at_all_is_no_transport():
    for solver in EXACT:
        value, flow, _, _ = emd(drawn(2, 4, 4), torch.zeros(2, 4), torch.zeros(2, 4), solver_named(solver))
        assert (value == 0).all()
        assert (flow == 0).all()


def test_solvers_agree():
    cost, a, b = problems(20, 25, 25)
    value, flow, u, v = emd(cost, a, b)
    other = emd(cost, a, b, solver_named("interior_point"))
    for ours, theirs, tolerance in zip((value, flow, u, v), other, (1e-8, 1e-5, 1e-5, 1e-5), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    torch.testing.assert_close(emd(cost, a, b, solver_named("opencv"))[0], value, rtol=1e-4, atol=0)
    rough = emd(cost, a, b, solver_named("sinkhorn"))[0]
    assert (rough > value * 0.99).all()
    assert (rough < value * 1.5).all()


@pytest.mark.parametrize("solver", EXACT)
def test_problems_at_once_equal_problems_alone_whatever_the_threads(solver):
    cost, a, b = problems(24, 7, 9)
    cost[5], a[3] = 1.0, 1.0  # one that is solved at once, among others
    solve = solver_named(solver)
    together = emd(cost, a, b, solve)
    torch.set_num_threads(2)
    for first, second in zip(together, emd(cost, a, b, solve), strict=True):
        assert torch.equal(first, second) or solver != "simplex"
    for k in range(24):
        for part, alone in zip(together, emd(cost[k], a[k], b[k], solve), strict=True):
            torch.testing.assert_close(part[k], alone, rtol=0, atol=1e-9)


def test_leading_axes():
    cost, a, b = (part.unflatten(0, (2, 3)) for part in problems(6, 4, 5))
    value, flow, u, v = emd(cost, a, b)
    assert [tuple(part.shape) for part in (value, flow, u, v)] == [(2, 3), (2, 3, 4, 5), (2, 3, 4), (2, 3, 5)]
    assert value[1, 2] == emd(cost[1, 2], a[1, 2], b[1, 2])[0]


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 6)])
def test_gradients_through_similarities_and_both_weights(solver, n, m):
    similarity, rows, columns = 1 - drawn(3, n, m), drawn(3, n, seed=1) + 0.1, drawn(3, m, seed=2) + 0.1
    inputs = [part.requires_grad_() for part in (similarity, rows, columns)]
    logits = lambda s, w1, w2: emd_logits(s, (w1, w2), 12.5, solver_named(solver))  # noqa: E731
    assert torch.autograd.gradcheck(logits, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


def test_the_gradient_of_the_quadratic_problem():
    cost, a, b = problems(3, 5, 6)
    solve = solver_named("interior_point", l2_strength=0.3)
    value = lambda s, w1, w2: emd_logits(s, (w1, w2), 1.0, solve)  # noqa: E731
    inputs = [part.requires_grad_() for part in (1 - cost, a, b)]
    assert torch.autograd.gradcheck(value, inputs, eps=1e-5, atol=1e-5, rtol=1e-4)


def test_weights_can_be_constants():
    similarity, rows, columns = drawn(2, 5, 5).requires_grad_(), drawn(2, 5).requires_grad_(), drawn(2, 5, seed=1)
    emd_logits(similarity, (rows, columns), weight_grad=False).sum().backward()
    assert similarity.grad.abs().sum() > 0
    assert rows.grad is None


def test_logits_are_the_similarity_of_the_flow():
    similarity, (rows, columns) = drawn(4, 6, 6), (drawn(4, 6, seed=1), drawn(4, 6, seed=2))
    a, b = 6 * rows / rows.sum(1, keepdim=True), 6 * columns / columns.sum(1, keepdim=True)
    flow = emd(1 - similarity, a, b)[1]
    expected = 12.5 / 6 * (similarity * flow).sum((1, 2))
    torch.testing.assert_close(emd_logits(similarity, (rows, columns)), expected)


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


def test_single_precision_stays_single():
    cost, a, b = (part.float() for part in problems(3, 25, 25))
    found = emd(cost, a, b)
    assert {part.dtype for part in found} == {torch.float32}
    torch.testing.assert_close(found[0].double(), emd(cost.double(), a.double(), b.double())[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c, a, b: a[0].fill_(math.nan), "row weights that are negative or NaN"),
        (lambda c, a, b: b[0, :1].fill_(-1), "column weights that are negative or NaN"),
        (lambda c, a, b: c[0].fill_(math.inf), "costs that are not finite"),
        (lambda c, a, b: b[0].fill_(0), "weights on one side only"),
    ],
)
def test_impossible_problems_are_refused(change, words):
    problem = problems(2, 4, 4)
    change(*problem)
    with pytest.raises(UserError, match=words):
        emd(*problem)


def test_the_pivot_cap_raises(monkeypatch):
    from core.ops.emd import simplex as transport_simplex

    full = transport_simplex.solve_many
    monkeypatch.setattr(transport_simplex, "solve_many", lambda *arguments: full(*arguments[:-1], 3))
    with pytest.raises(UserError, match=r"left \d+ of 4 problems unsolved .* set solver: interior_point"):
        simplex(*problems(4, 25, 25))


def test_without_numba_the_sentence_names_another_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "core.ops.emd.simplex", None)
    with pytest.raises(UserError, match=r"needs numba .* set solver: interior_point"):
        emd(*problems(1, 3, 3))


def test_numba_is_imported_only_when_it_is_used():
    code = "import sys, core.ops.emd.problem; sys.exit('numba' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simplx",), "solver is 'simplx'"),
        (("qpth", "L3"), "form is 'L3'"),
        (("qpth", "L2", -1.0), "l2_strength is -1.0"),
        (("simplex", "L2", 1e-4), "solves the linear problem"),
        (("opencv", "QP"), "solves the linear problem"),
    ],
)
def test_wrong_names_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        solver_named(*arguments)


@pytest.mark.gpu
def test_the_layer_serves_a_gpu():
    problem = problems(30, 25, 25)
    on_gpu = [part.cuda() for part in problem]
    for solver in EXACT:
        found = emd(*on_gpu, solver_named(solver))
        for part, expected in zip(found, emd(*problem, solver_named(solver)), strict=True):
            torch.testing.assert_close(part.cpu(), expected, rtol=0, atol=1e-6)
