"""Every solver against SciPy's HiGHS, and the sentences of solvers that cannot be had."""

import subprocess
import sys

import pytest
import torch

from core.errors import UserError
from core.ops.emd.distance import emd
from core.ops.emd.solvers import solver_named
from tests.ops.emd.problems import EXACT, drawn, optimum, problems

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
    interior = emd(cost, a, b, solver_named("interior_point"))
    for exact, close, tolerance in zip((value, flow, u, v), interior, (1e-8, 1e-5, 1e-5, 1e-5), strict=True):
        torch.testing.assert_close(exact, close, rtol=0, atol=tolerance)
    torch.testing.assert_close(emd(cost, a, b, solver_named("opencv"))[0], value, rtol=1e-4, atol=0)


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


def test_without_numba_the_sentence_names_another_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "core.ops.emd.network_simplex", None)
    with pytest.raises(UserError, match=r"needs numba .* set solver: interior_point"):
        emd(*problems(1, 3, 3))


def test_numba_is_imported_only_when_it_is_used():
    code = "import sys, core.ops.emd.distance; sys.exit('numba' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("qpth", "L2", -1.0), "l2_strength is -1.0"),
        (("simplex", "L2", 1e-4), "solves the linear problem"),
        (("opencv", "QP"), "solves the linear problem"),
    ],
)
def test_quadratic_terms_that_no_solver_takes_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        solver_named(*arguments)
