"""Transportation problems for tests, and their optimum by SciPy's HiGHS."""

import numpy as np
import torch
from scipy.optimize import linprog

EXACT = ["simplex", "interior_point"]  # names of the solvers that find the optimum


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problems(k, n, m, seed=0):
    cost, a, b = 2 * drawn(k, n, m, seed=seed), drawn(k, n, seed=seed + 1) + 1e-3, drawn(k, m, seed=seed + 2) + 1e-3
    return cost, a, b * a.sum(1, keepdim=True) / b.sum(1, keepdim=True)


def optimum(cost, a, b):
    """The least cost of one problem, by linprog."""
    n, m = cost.shape
    equations = np.concatenate([np.eye(n).repeat(m, 1), np.tile(np.eye(m), n)])
    totals = torch.cat([a, b]).numpy()
    # The rows' sum is the columns': one equation is left out.
    solution = linprog(cost.flatten().numpy(), A_eq=equations[:-1], b_eq=totals[:-1], method="highs")
    assert solution.success
    return solution.fun
