"""Solvers of many transportation problems: cost [k, n, m], a [k, n], b [k, m] to flow, u, v and a constant 0.

All in float64, contiguous, with equal totals. See `core.ops.emd.problem.solver_named` for what each is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ...errors import UserError

FEWEST = 8  # problems that are worth a thread
T = TypeVar("T")
Solution = tuple[Tensor, Tensor, Tensor, float]


def simplex(cost: Tensor, a: Tensor, b: Tensor) -> Solution:
    """The network simplex of `core.ops.emd.simplex`, on as many threads as PyTorch has.

    Every problem is solved by itself, so the answer does not depend on the threads.

    Raises:
        UserError: without numba, or where a problem is not solved within the most pivots allowed.
    """
    try:
        from .simplex import solve_many
    except ImportError as error:
        raise UserError(
            f"METHOD.ARGS.solver is simplex, which needs numba ({error}); install numba, or set solver: interior_point."
        ) from error
    problem = [part.cpu().numpy() for part in (cost, a, b)]
    answer = [np.empty_like(part) for part in problem]
    count, most = len(cost), most_pivots(*cost.shape[1:])
    failed = sum(
        in_parts(lambda part: solve_many(*(x[part] for x in problem), *(x[part] for x in answer), most), count, FEWEST)
    )
    if failed:
        refuse_unsolved(failed, count, most)
    return *(torch.from_numpy(array).to(cost.device) for array in answer), 0.0


def most_pivots(n: int, m: int) -> int:
    """Pivots after which a problem of this size counts as unsolved; tens to hundreds are usual."""
    return 1000 + 100 * (n + m)


def refuse_unsolved(failed: int, count: int, most: int) -> None:
    """Say that the network simplex gave up on `failed` of `count` problems."""
    raise UserError(
        f"METHOD.ARGS.solver is simplex, which left {failed} of {count} problems unsolved after {most} pivots each; "
        "set solver: interior_point."
    )


def in_parts(work: Callable[[slice], T], count: int, fewest: int) -> list[T]:
    """What `work` returns for consecutive parts of range(count), on as many threads as PyTorch has.

    A part has at least `fewest`, unless there is only one; `work` lets go of Python's lock.
    """
    threads = max(1, min(torch.get_num_threads(), count // fewest))
    bounds = [count * part // threads for part in range(threads + 1)]
    first, *others = map(slice, bounds, bounds[1:])
    pending = [_pool(os.getpid()).submit(work, part) for part in others]
    return [work(first), *(future.result() for future in pending)]


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(os.cpu_count(), "simplex")


def opencv(cost: Tensor, a: Tensor, b: Tensor) -> Solution:
    """One call of OpenCV's solver after another, in float32; it gives no duals, so weights get no gradient."""
    import cv2

    costs, rows, columns = (part.float().cpu().numpy() for part in (cost, a, b))
    flows = [
        cv2.EMD(row[:, None], column[:, None], cv2.DIST_USER, np.ascontiguousarray(one))[2]
        for one, row, column in zip(costs, rows, columns, strict=True)
    ]
    flow = torch.from_numpy(np.stack(flows)).to(cost).view_as(cost)
    return flow * (a.sum(1) / flow.sum((1, 2)))[:, None, None], torch.zeros_like(a), torch.zeros_like(b), 0.0


def sinkhorn(cost: Tensor, a: Tensor, b: Tensor, epsilon: float = 0.02, rounds: int = 200) -> Solution:
    """The flow of the problem with an entropy term (Cuturi, NeurIPS 2013), after `rounds` updates of each side.

    Approximate: its rows are met only in the limit, and its cost lies above the optimum by a part that `epsilon` sets.
    """
    log_a, log_b = (weight.clamp(min=1e-300).log() for weight in (a, b))
    u, v = torch.zeros_like(a), torch.zeros_like(b)
    for _ in range(rounds):
        u = epsilon * (log_a - ((v[:, None] - cost) / epsilon).logsumexp(2))
        v = epsilon * (log_b - ((u[:, :, None] - cost) / epsilon).logsumexp(1))
    return ((u[:, :, None] + v[:, None] - cost) / epsilon).exp(), u, v, 0.0
