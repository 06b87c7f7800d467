"""The Earth Mover's Distance as a layer: value, optimal flow, and exact gradients without differentiating a solver.

    V(C, a, b) = min <C, X>  subject to  X 1 = a, X^T 1 = b, X >= 0
               = max <a, u> + <b, v>  subject to  u_i + v_j <= C_ij.

By the envelope theorem dV/dC is the optimal flow X, dV/da the dual u and dV/db the dual v, wherever they are unique.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import UserError
from .interior_point import interior_point, quadratic_form
from .solvers import opencv, simplex, sinkhorn

# cost [k, n, m], a [k, n], b [k, m] to flow, u, v and what the optimum has besides <C, X> [k]; all float64.
Solver = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor | float]]
NAMES = ("simplex", "interior_point", "qpth", "opencv", "sinkhorn")
QPTH_STRENGTH = 1e-6  # what DeepEMD's code gives qpth


def solver_named(name: str, form: str = "L2", l2_strength: float = 0.0) -> Solver:
    """A solver by its name in a YAML.

    Args:
        name: `simplex` (exact, CPU, needs numba), `interior_point` (to 1e-9, any device), `opencv` (OpenCV's, with zero
            duals), `sinkhorn` (approximate: entropic, a few percent off), or `qpth`, which is `interior_point`
            on the problem that DeepEMD's code hands to that package.
        form: `L2` adds l2_strength / 2 |X|^2 to the cost; `QP` is 1/2 <C, X>^2 + 1/2 1e-4 |X|^2 instead.
        l2_strength: 0 = the linear program; for `qpth` 0 = 1e-6.

    Raises:
        UserError: for an unknown name, and for a quadratic term in a solver of linear programs.
    """
    if name not in NAMES:
        raise UserError(f"METHOD.ARGS.solver is {name!r}, which is not one of: {', '.join(NAMES)}.")
    if form not in ("L2", "QP"):
        raise UserError(f"METHOD.ARGS.form is {form!r}, which is not one of: L2, QP.")
    if not l2_strength >= 0:
        raise UserError(f"METHOD.ARGS.l2_strength is {l2_strength}; it must be at least 0.")
    if name in ("interior_point", "qpth"):
        strength = l2_strength or (QPTH_STRENGTH if name == "qpth" else 0.0)
        return quadratic_form if form == "QP" else lambda cost, a, b: interior_point(cost, a, b, strength)
    if form == "QP" or l2_strength:
        raise UserError(
            f"METHOD.ARGS.solver is {name}, which solves the linear problem, but form is {form} and l2_strength is "
            f"{l2_strength}; set solver to interior_point, or leave both out."
        )
    return {"simplex": simplex, "opencv": opencv, "sinkhorn": sinkhorn}[name]


class _EMD(torch.autograd.Function):
    @staticmethod
    def forward(ctx, cost: Tensor, a: Tensor, b: Tensor, solve: Solver, weight_grad: bool) -> tuple[Tensor, ...]:
        leading, (n, m) = cost.shape[:-2], cost.shape[-2:]
        problem = [cost.reshape(-1, n, m), a.reshape(-1, n), b.reshape(-1, m)]
        exact = [part.double().contiguous() for part in problem]
        totals = [weight.sum(-1, keepdim=True) for weight in exact[1:]]
        if not _sound(*exact, *totals):
            _refuse(*exact)
        exact[2] = exact[2] * _ratio(*totals)
        flow, u, v, more = solve(*exact)
        value = torch.linalg.vecdot(exact[0].flatten(1), flow.flatten(1)) + more
        shift = _ratio((exact[1] * u).sum(-1, keepdim=True), totals[0])
        flow, u, v = (part.to(cost.dtype) for part in (flow, u - shift, v + shift))
        found = [part.unflatten(0, leading) if leading else part[0] for part in (flow, u, v)]
        ctx.save_for_backward(*found)
        ctx.weight_grad = weight_grad
        ctx.mark_non_differentiable(*found)
        return value.to(cost.dtype).reshape(leading), *found

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        flow, u, v = ctx.saved_tensors
        by_cost = slope[..., None, None] * flow
        if not ctx.weight_grad:
            return by_cost, None, None, None, None
        return by_cost, slope[..., None] * u, slope[..., None] * v, None, None


def emd(
    cost: Tensor, a: Tensor, b: Tensor, solve: Solver = simplex, weight_grad: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The optimum of many transportation problems, solved in float64.

    Args:
        cost: [..., n, m].
        a: [..., n], what each row supplies; not negative.
        b: [..., m], what each column demands; not negative. Totals are equal, else `b` is scaled to that of `a`.
        solve: the solver, see `solver_named`. Solvers on the CPU serve other devices by one copy each way.
        weight_grad: false = the weights are constants, as in DeepEMD's code with OpenCV.

    Returns:
        Value [...], flow [..., n, m], and the duals u [..., n] and v [..., m], in the dtype of `cost`. Only the value
        is differentiable, once. Duals are defined up to (u + t, v - t); here <a, u> = 0. The weights' gradient is that
        along equal totals: normalise both (as `emd_logits` does), or project it.

    Raises:
        UserError: where a cost is not finite or a weight is negative or NaN, where one side has no weight, or where a
            solver does not finish.
    """
    return _EMD.apply(cost, a, b, solve, weight_grad)


def emd_logits(
    similarity: Tensor,
    weights: tuple[Tensor, Tensor],
    temperature: float = 12.5,
    solve: Solver = simplex,
    weight_grad: bool = True,
) -> Tensor:
    """temperature / n * <S, X> for the flow X that is optimal for costs 1 - S (DeepEMD, eq. 7).

    With both weights scaled to n in total this is temperature * (1 - V / n), whose gradient `emd` gives exactly.

    Args:
        similarity: S [..., n, m].
        weights: of rows [..., n] and of columns [..., m]; positive, of any total.
        temperature: T, the largest logit.
        solve: as in `emd`.
        weight_grad: as in `emd`.
    """
    n = similarity.shape[-2]
    a, b = (n * weight / weight.sum(-1, keepdim=True) for weight in weights)
    return temperature * (1 - emd(1 - similarity, a, b, solve, weight_grad)[0] / n)


def _ratio(x: Tensor, y: Tensor) -> Tensor:
    """x / y, and 1 where both are 0."""
    return (x / y).nan_to_num_(nan=1.0)


def _sound(cost: Tensor, a: Tensor, b: Tensor, supply: Tensor, demand: Tensor) -> bool:
    """Whether the problems are certainly well posed: sums tell in one pass over the costs."""
    finite = [x.sum().isfinite() for x in (cost, supply, demand)]
    return bool(torch.stack([*finite, (a >= 0).all(), (b >= 0).all(), ((supply > 0) == (demand > 0)).all()]).all())


def _refuse(cost: Tensor, a: Tensor, b: Tensor) -> None:
    """Say what is wrong with the problems, if anything is."""
    fine = [cost.isfinite().all(), *((w >= 0).all() & w.isfinite().all() for w in (a, b))]
    fine.append(((a.sum(-1) > 0) == (b.sum(-1) > 0)).all())
    what = (
        "costs that are not finite",
        "row weights that are negative or NaN",
        "column weights that are negative or NaN",
    )
    broken = [words for words, good in zip((*what, "weights on one side only"), fine, strict=True) if not good]
    if broken:
        raise UserError(
            f"The Earth Mover's Distance was given {' and '.join(broken)}; features have probably diverged: lower "
            "STAGE.*.OPTIM.LR, or set OPTIM.CLIP."
        )
