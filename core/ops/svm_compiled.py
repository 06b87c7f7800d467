"""The interior point of `svm` on a CPU, compiled by numba: eight tasks side by side, so that every loop is over lanes.

It takes the same steps as `svm._solve`. Matrices of 25 x 25 are too small for the calls of LAPACK and PyTorch, whose
overhead is most of their time.

This module imports numba, which takes a while: import it only where it is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import numpy as np
import torch
from numba import config
from torch import Tensor

from .emd.solvers import in_parts
from .lanes import LANES, OPTIONS, factor, newton, row_dot


def solve(
    matrix: Tensor,
    target: Tensor,
    bound: float,
    passes: int,
    most: int,
    solved: float,
    enough: float,
    stalled: int,
    share: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A^T, slacks and multipliers, each [T, N, n], and residuals [T], of problems M [T, n, n] and Y^T [T, N, n].

    Args:
        matrix: M.
        target: Y^T.
        bound: C.
        passes: as for `svm.svm_duals`.
        most: passes at most, where `passes` is 0.
        solved: the residual of a solved problem.
        enough: the largest residual that rounding may leave.
        stalled: passes without a smaller residual after which a problem of such a residual stops.
        share: of the gap, at which a step aims after a pass that did not lower the residual.
    """
    tasks, ways, supports = target.shape
    lanes = [_in_lanes(part) for part in (matrix, target)]
    groups = len(lanes[0])
    solutions = [np.empty((groups, ways, supports, LANES)) for _ in range(3)]
    residual = np.empty((groups, LANES))

    def work(part: slice) -> None:
        given, taken = [x[part] for x in lanes], [x[part] for x in (*solutions, residual)]
        _solve_groups(*given, float(bound), passes or most, not passes, solved, enough, stalled, share, *taken)

    with _packed():
        in_parts(work, groups, 1)
    apart = [torch.from_numpy(part).permute(0, 3, 1, 2).flatten(0, 1)[:tasks].contiguous() for part in solutions]
    return apart[0], apart[1], apart[2], torch.from_numpy(residual).flatten()[:tasks]


@contextmanager
def _packed() -> Iterator[None]:
    """Where numba compiles: operations on neighbouring lanes become one, which it leaves out by default.

    The solver is 1.5 times as fast, with the same bits. Other kernels of the process are compiled as they would be.
    """
    options = vars(config)
    before, options["SLP_VECTORIZE"] = options["SLP_VECTORIZE"], 1
    try:
        yield
    finally:
        options["SLP_VECTORIZE"] = before


def _in_lanes(x: Tensor) -> np.ndarray:
    """[T, a, b] to [T / 8, a, b, 8]; the last task stands in the lanes that are left over."""
    missing = -len(x) % LANES
    padded = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
    return padded.unflatten(0, (-1, LANES)).permute(0, 2, 3, 1).contiguous().numpy()


@numba.njit(**OPTIONS)
def _solve_groups(
    matrices, targets, bound, most, stops, solved, enough, stalled, share, a, slack, multiplier, residual
):
    """Every group of eight tasks; `stops` says whether a task ends once it is solved."""
    for group in range(len(matrices)):
        _solve_group(
            matrices[group],
            targets[group],
            bound,
            most,
            stops,
            solved,
            enough,
            stalled,
            share,
            a[group],
            slack[group],
            multiplier[group],
            residual[group],
        )


@numba.njit(**OPTIONS)
def _solve_group(m, y, bound, most, stops, solved, enough, stalled, share, best_a, best_slack, best_multiplier, least):
    """The best point of each lane among `most` is kept in `best_*`, its residual in `least`."""
    ways, n, _ = y.shape
    inverse, work, free = np.empty((ways, n, n, LANES)), np.empty((2, n, n, LANES)), np.empty((9, ways, n, LANES))
    a, s, z, uneven, short, gap, residual = (
        free[0],
        free[1],
        free[2],
        free[3],
        free[4],
        np.empty(LANES),
        np.empty(LANES),
    )
    nu, stalls, going, better = np.empty((2, n, LANES)), np.zeros(LANES), np.ones(LANES), np.ones(LANES)
    careful = np.zeros(LANES)  # the share of the gap at which a careful step aims; 0 for Mehrotra's
    _start(m, y, bound, a, s, z, nu[:1], inverse, work, free[5])
    _keep(better, a, best_a)
    _keep(better, s, best_slack)
    _keep(better, z, best_multiplier)
    for w in range(LANES):
        least[w] = np.inf
    for _ in range(most):
        _measure(m, y, bound, a, s, z, nu, uneven, short, gap, residual)
        busy = 0.0
        for w in range(LANES):
            better[w] = going[w] if residual[w] < least[w] else 0.0
            least[w] = residual[w] if better[w] > 0 else least[w]
            stalls[w] = 0 if better[w] > 0 else stalls[w] + 1
            if stops and (not least[w] > solved or (stalls[w] >= stalled and least[w] <= enough)):
                going[w] = 0
            busy += going[w]
            careful[w] = share if stops and stalls[w] > 0 else 0.0
        _keep(better, a, best_a)
        _keep(better, s, best_slack)
        _keep(better, z, best_multiplier)
        if busy == 0:
            break
        _advance(m, a, s, z, nu, uneven, short, gap, careful, inverse, work, free[5:])


@numba.njit(**OPTIONS)
def _start(m, y, bound, a, s, z, nu, inverse, work, right):
    """qpth's initial point: `svm._start`."""
    for c in range(len(y)):
        for i in range(y.shape[1]):
            for w in range(LANES):
                right[c, i, w] = (1 + bound) * y[c, i, w]
                z[c, i, w] = 1
    factor(m, z, inverse, work)
    newton(inverse, work, right, a, nu)
    for c in range(len(y)):
        for i in range(y.shape[1]):
            for w in range(LANES):
                s[c, i, w] = bound * y[c, i, w] - a[c, i, w]
                z[c, i, w] = -s[c, i, w]
    _raise_above_zero(s)
    _raise_above_zero(z)


@numba.njit(**OPTIONS)
def _advance(m, a, s, z, nu, uneven, short, gap, careful, inverse, work, free):
    """Mehrotra's step: `svm._step`, in place; `nu[1:]` and `free` are scratch."""
    ways, n, _ = a.shape
    ratio, right, da, dsz, centre, reach = free[0], free[1], free[2], free[3], np.zeros(LANES), np.empty(LANES)
    dz = right  # the right sides are not read once the step is known
    for c in range(ways):
        for i in range(n):
            for w in range(LANES):
                ratio[c, i, w] = z[c, i, w] / s[c, i, w]
                dsz[c, i, w] = 0
    factor(m, ratio, inverse, work)
    for corrects in range(2):
        for c in range(ways):
            for i in range(n):
                for w in range(LANES):
                    product = s[c, i, w] * z[c, i, w] - centre[w] + dsz[c, i, w]
                    dsz[c, i, w] = product / s[c, i, w] - ratio[c, i, w] * short[c, i, w]
                    right[c, i, w] = dsz[c, i, w] - uneven[c, i, w]
        newton(inverse, work, right, da, nu[1:])
        for c in range(ways):
            for i in range(n):
                for w in range(LANES):
                    dz[c, i, w] = ratio[c, i, w] * da[c, i, w] - dsz[c, i, w]
                    corrected = (-da[c, i, w] - short[c, i, w]) * dz[c, i, w]
                    dsz[c, i, w] = 0.0 if careful[w] > 0 else corrected
        _reach(s, da, short, z, dz, reach)
        if not corrects:
            _centre(s, da, short, z, dz, reach, gap, careful, centre)
    for w in range(LANES):
        reach[w] = min(1.0, 0.999 * reach[w])
    for i in range(n):
        for w in range(LANES):
            nu[0, i, w] += reach[w] * nu[1, i, w]
            for c in range(ways):
                a[c, i, w] += reach[w] * da[c, i, w]
                s[c, i, w] -= reach[w] * (da[c, i, w] + short[c, i, w])
                z[c, i, w] += reach[w] * dz[c, i, w]


@numba.njit(**OPTIONS)
def _measure(m, y, bound, a, s, z, nu, uneven, short, gap, residual):
    """What the conditions of optimality miss, and how much in all."""
    ways, n, _ = y.shape
    first, second, dot = np.zeros(LANES), np.zeros(LANES), np.empty(LANES)
    for w in range(LANES):
        gap[w] = 0
    for c in range(ways):
        for i in range(n):
            row_dot(m, i, a, c, 0, n, dot)
            for w in range(LANES):
                uneven[c, i, w] = dot[w] - y[c, i, w] + z[c, i, w] + nu[0, i, w]
                short[c, i, w] = a[c, i, w] + s[c, i, w] - bound * y[c, i, w]
                first[w] += uneven[c, i, w] ** 2
                second[w] += short[c, i, w] ** 2
                gap[w] += s[c, i, w] * z[c, i, w]
    for w in range(LANES):
        residual[w] = np.sqrt(first[w]) + np.sqrt(second[w]) + gap[w]
        gap[w] /= ways * n


@numba.njit(**OPTIONS)
def _raise_above_zero(x):
    """Lanes with a number below 0 are shifted so that their smallest is 1."""
    for w in range(LANES):
        least = x[0, 0, w]
        for c in range(len(x)):
            for i in range(x.shape[1]):
                least = min(least, x[c, i, w])
        if least < 0:
            for c in range(len(x)):
                for i in range(x.shape[1]):
                    x[c, i, w] += 1 - least


@numba.njit(**OPTIONS)
def _keep(better, x, best):
    """Copy the lanes that are better."""
    for c in range(len(x)):
        for i in range(x.shape[1]):
            for w in range(LANES):
                best[c, i, w] = x[c, i, w] if better[w] > 0 else best[c, i, w]


@numba.njit(**OPTIONS)
def _reach(s, da, short, z, dz, reach):
    """The longest steps that keep s and z from falling below 0; ds = -da - short."""
    shrink = np.zeros(LANES)
    for c in range(len(s)):
        for i in range(s.shape[1]):
            for w in range(LANES):
                shrink[w] = max(shrink[w], (da[c, i, w] + short[c, i, w]) / s[c, i, w])
                shrink[w] = max(shrink[w], -dz[c, i, w] / z[c, i, w])
    for w in range(LANES):
        reach[w] = 1 / max(shrink[w], 1e-30)


@numba.njit(**OPTIONS)
def _centre(s, da, short, z, dz, reach, gap, careful, centre):
    """The target product after the predictor's step, (gap ahead / gap)^3 gap, or a careful step's share of the gap."""
    for c in range(len(s)):
        for i in range(s.shape[1]):
            for w in range(LANES):
                length = min(1.0, reach[w])
                ahead = s[c, i, w] - length * (da[c, i, w] + short[c, i, w])
                centre[w] += ahead * (z[c, i, w] + length * dz[c, i, w])
    for w in range(LANES):
        ahead = centre[w] / (len(s) * s.shape[1])
        centre[w] = careful[w] * gap[w] if careful[w] > 0 else (ahead / gap[w]) ** 3 * gap[w]
