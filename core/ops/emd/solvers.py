"""Solvers of many transportation problems, by the names that a YAML gives them.

A solver maps cost [k, n, m], a [k, n] and b [k, m], float64, contiguous and with equal totals, to the optimal flow,
its duals u and v, and what the optimum has besides <C, X>: the quadratic term [k], or 0 where there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError
from .interior_point import interior_point, quadratic_form

T = TypeVar("T")
Solution = tuple[Tensor, Tensor, Tensor, Tensor | float]
Solver = Callable[[Tensor, Tensor, Tensor], Solution]

Name = Literal["simplex", "interior_point", "qpth", "opencv"]
NameOrNone = Literal["", "simplex", "interior_point", "qpth", "opencv"]
Form = Literal["L2", "QP"]

QUADRATIC = ("interior_point", "qpth")  # solvers that take a quadratic term

QPTH_STRENGTH = 1e-6  # what DeepEMD's code gives qpth
FEWEST = 8  # problems that are worth a thread


def solver_named(name: Name, form: Form = "L2", l2_strength: float = 0.0) -> Solver:
    """A solver by its name in a YAML.

    Args:
        name: `simplex` (exact, CPU, needs numba), `interior_point` (to 1e-9, any device), `opencv` (OpenCV's, with zero
            duals), or `qpth`, which is `interior_point` on the problem that DeepEMD's code hands to that package.
        form: `L2` adds l2_strength / 2 |X|^2 to the cost; `QP` is 1/2 <C, X>^2 + 1/2 1e-4 |X|^2 instead.
        l2_strength: 0 = the linear program; for `qpth` 0 = 1e-6.

    Raises:
        UserError: for a negative strength, and for a quadratic term in a solver of linear programs.
    """
    if not l2_strength >= 0:
        raise UserError(f"METHOD.ARGS.l2_strength is {l2_strength}; it must be at least 0.")
    if name in QUADRATIC:
        strength = l2_strength or (QPTH_STRENGTH if name == "qpth" else 0.0)
        return quadratic_form if form == "QP" else lambda cost, a, b: interior_point(cost, a, b, strength)
    if form == "QP" or l2_strength:
        raise UserError(
            f"METHOD.ARGS.solver is {name}, which solves the linear problem, but form is {form} and l2_strength is "
            f"{l2_strength}; set solver to interior_point, or leave both out."
        )
    return {"simplex": simplex, "opencv": opencv}[name]


def solver_for_validation(name: Name, form: Form, l2_strength: float) -> Solver:
    """The same, but a solver of linear programs leaves out the quadratic term that is meant for training."""
    return solver_named(name, form, l2_strength) if name in QUADRATIC else solver_named(name)


def simplex(cost: Tensor, a: Tensor, b: Tensor) -> Solution:
    """The network simplex of `network_simplex`, on as many threads as PyTorch has.

    Every problem is solved by itself, so the answer does not depend on the threads.

    Raises:
        UserError: without numba, or where a problem is not solved within the most pivots allowed.
    """
    try:
        from .network_simplex import solve_many
    except ImportError as error:
        raise UserError(
            f"METHOD.ARGS.solver is simplex, which needs numba ({error}); install numba, or set solver: interior_point."
        ) from error
    problem = [part.cpu().numpy() for part in (cost, a, b)]
    optimum = [np.empty_like(part) for part in problem]
    count, most = len(cost), most_pivots(*cost.shape[1:])

    def solve(part: slice) -> int:
        return solve_many(*(x[part] for x in problem), *(x[part] for x in optimum), most)

    unsolved = sum(in_parts(solve, count, FEWEST))
    if unsolved:
        refuse_unsolved(unsolved, count, most)
    flow, u, v = (torch.from_numpy(array).to(cost.device) for array in optimum)
    return flow, u, v, 0.0


def most_pivots(n: int, m: int) -> int:
    """Pivots after which a problem of this size counts as unsolved; tens to hundreds are usual."""
    return 1000 + 100 * (n + m)


def refuse_unsolved(unsolved: int, count: int, most: int) -> None:
    """Raise a UserError: the network simplex gave up on `unsolved` of `count` problems."""
    raise UserError(
        f"METHOD.ARGS.solver is simplex, which left {unsolved} of {count} problems unsolved after {most} pivots each; "
        "set solver: interior_point."
    )


def in_parts(work: Callable[[slice], T], count: int, fewest: int) -> list[T]:
    """Call `work` for consecutive parts of range(count), on as many threads as PyTorch has, and list what it returns.

    A part has at least `fewest` items, unless there is only one part. `work` must release Python's lock.
    """
    threads = max(1, min(torch.get_num_threads(), count // fewest))
    bounds = [count * part // threads for part in range(threads + 1)]
    first, *rest = map(slice, bounds, bounds[1:])
    pending = [_pool(os.getpid()).submit(work, part) for part in rest]
    return [work(first), *(future.result() for future in pending)]


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of one process: a fork inherits none of its parent's."""
    return ThreadPoolExecutor(os.cpu_count(), "simplex")


def opencv(cost: Tensor, a: Tensor, b: Tensor) -> Solution:
    """OpenCV's solver, one problem after another, in float32. It returns no duals, so weights get no gradient."""
    import cv2

    costs, rows, columns = (part.float().cpu().numpy() for part in (cost, a, b))
    flows = [
        cv2.EMD(row[:, None], column[:, None], cv2.DIST_USER, np.ascontiguousarray(one))[2]
        for one, row, column in zip(costs, rows, columns, strict=True)
    ]
    flow = torch.from_numpy(np.stack(flows)).to(cost).view_as(cost)
    return flow * (a.sum(1) / flow.sum((1, 2)))[:, None, None], torch.zeros_like(a), torch.zeros_like(b), 0.0
