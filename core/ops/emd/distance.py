"""The earth mover's distance as a layer: value, optimal flow, and exact gradients without differentiating a solver.

    V(C, a, b) = min <C, X>  subject to  X 1 = a, X^T 1 = b, X >= 0
               = max <a, u> + <b, v>  subject to  u_i + v_j <= C_ij.

By the envelope theorem dV/dC is the optimal flow X, dV/da the dual u and dV/db the dual v, wherever they are unique.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import UserError
from .solvers import Solver, simplex


def emd(
    cost: Tensor, a: Tensor, b: Tensor, solve: Solver = simplex, weight_grad: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The optimum of many transportation problems, solved in float64.

    Args:
        cost: [..., n, m].
        a: [..., n], what each row supplies; not negative.
        b: [..., m], what each column demands; not negative. Where its total differs from that of `a`, `b` is scaled.
        solve: the solver, see `solvers.solver_named`. Problems on another device are copied to a solver on the CPU
            and back once.
        weight_grad: false = the weights are constants, as in DeepEMD's code with OpenCV.

    Returns:
        Value [...], flow [..., n, m], and the duals u [..., n] and v [..., m], in the dtype of `cost`. Only the value
        is differentiable, once. Duals are defined up to (u + t, v - t); here <a, u> = 0. The gradient of the weights
        holds for changes that keep both totals equal: normalise both weights (as `emd_logits` does), or project it.

    Raises:
        UserError: where a cost is not finite or a weight is negative or NaN, where one side has no weight, or where a
            solver does not finish.
    """
    return _EMD.apply(cost, a, b, solve, weight_grad)


def emd_logits(
    similarity: Tensor,
    weights: tuple[Tensor, Tensor],
    temperature: float | Tensor = 12.5,
    solve: Solver = simplex,
    weight_grad: bool = True,
) -> Tensor:
    """temperature * (1 - V / n), with V the least cost of a flow X for costs 1 - S; both weights have n in total.

    For a linear program this is temperature / n * <S, X> (DeepEMD, eq. 7). A solver's quadratic term is in V, so that
    `emd` gives the exact gradient; eq. 7 leaves it out of the logits.

    Args:
        similarity: S [..., n, m].
        weights: of rows [..., n] and of columns [..., m]; positive, of any total.
        temperature: T, the largest logit.
        solve: the solver, see `emd`.
        weight_grad: whether gradients reach the weights, see `emd`.
    """
    n = similarity.shape[-2]
    a, b = (n * weight / weight.sum(-1, keepdim=True) for weight in weights)
    return temperature * (1 - emd(1 - similarity, a, b, solve, weight_grad)[0] / n)


class _EMD(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cost: Tensor, a: Tensor, b: Tensor, solve: Solver, weight_grad: bool) -> tuple[Tensor, ...]:
        leading, (n, m) = cost.shape[:-2], cost.shape[-2:]
        problem = [cost.reshape(-1, n, m), a.reshape(-1, n), b.reshape(-1, m)]
        exact = [part.double().contiguous() for part in problem]
        totals = [weight.sum(-1, keepdim=True) for weight in exact[1:]]
        if not _well_posed(*exact, *totals):
            _refuse(*exact)
        exact[2] = exact[2] * _ratio(*totals)
        flow, u, v, quadratic_term = solve(*exact)
        value = torch.linalg.vecdot(exact[0].flatten(1), flow.flatten(1)) + quadratic_term
        shift = _ratio((exact[1] * u).sum(-1, keepdim=True), totals[0])
        flow, u, v = (part.to(cost.dtype) for part in (flow, u - shift, v + shift))
        optimum = [part.unflatten(0, leading) if leading else part[0] for part in (flow, u, v)]
        ctx.save_for_backward(*optimum)
        ctx.weight_grad = weight_grad
        ctx.mark_non_differentiable(*optimum)
        return value.to(cost.dtype).reshape(leading), *optimum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        flow, u, v = ctx.saved_tensors
        by_cost = slope[..., None, None] * flow
        if not ctx.weight_grad:
            return by_cost, None, None, None, None
        return by_cost, slope[..., None] * u, slope[..., None] * v, None, None


def _ratio(x: Tensor, y: Tensor) -> Tensor:
    """x / y, and 1 where both are 0."""
    return (x / y).nan_to_num_(nan=1.0)


def _well_posed(cost: Tensor, a: Tensor, b: Tensor, supply: Tensor, demand: Tensor) -> bool:
    """Whether the problems are certainly well posed. False may be a false alarm: one sum stands for all costs."""
    finite = [x.sum().isfinite() for x in (cost, supply, demand)]
    return bool(torch.stack([*finite, (a >= 0).all(), (b >= 0).all(), ((supply > 0) == (demand > 0)).all()]).all())


def _refuse(cost: Tensor, a: Tensor, b: Tensor) -> None:
    """Raise a UserError that lists what is wrong with the problems, if anything is."""
    good = {
        "costs that are not finite": cost.isfinite().all(),
        "row weights that are negative or NaN": (a >= 0).all() & a.isfinite().all(),
        "column weights that are negative or NaN": (b >= 0).all() & b.isfinite().all(),
        "weights on one side only": ((a.sum(-1) > 0) == (b.sum(-1) > 0)).all(),
    }
    faults = [fault for fault, absent in good.items() if not absent]
    if faults:
        raise UserError(
            f"The Earth Mover's Distance was given {' and '.join(faults)}; features have probably diverged: lower "
            "STAGE.*.OPTIM.LR, or set OPTIM.CLIP."
        )
