"""The multi-class support vector machine of Crammer and Singer (JMLR 2001) for T tasks at once, with its gradient.

With supports X [n, d], one-hot labels Y and M = X X^T + I, the dual that MetaOptNet (Lee et al., CVPR 2019) solves is

    minimise <A, M A> / 2 - <A, Y>  subject to  A <= C Y entry by entry, A 1 = 0.

The quadratic form is M for each class, and only the equality joins the classes. So Newton's equations fall into a
Cholesky factor of M + diag(Z / S) for each class and one of n x n for the multipliers of the equality, in place of the
dense matrix of n N + n unknowns: 2 N^2 / 3 times less work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from .adapt import Head
from .closed_form import gram_matrix, head_of
from .joined_systems import JoinedSystems

Solution = tuple[Tensor, Tensor, Tensor, Tensor]

PASSES = 40
SOLVED, ENOUGH = 1e-12, 1e-6  # residuals: of a solved problem, and the largest that rounding may leave
# Passes without a smaller residual, after which a problem that is solved to ENOUGH is as solved as rounding lets it be.
STALLED = 3
# Where a pass did not lower the residual, the next step aims at this share of the gap and is not corrected: Mehrotra's
# may go round in circles (Cartis, 2009).
CAREFUL = 0.3
SMALLEST = 1e-8  # of slacks and multipliers in the gradient, as in qpth


def fit_svm(support: Tensor, labels: Tensor, way: int, bound: float, passes: int = 0) -> Head:
    """The machines of supports [T, n, d] with labels [T, n]; arguments as in `svm_duals`."""
    duals = svm_duals(gram_matrix(support), F.one_hot(labels, way), bound, passes)
    return head_of(duals, support)


def svm_duals(gram: Tensor, target: Tensor, bound: float, passes: int = 0) -> Tensor:
    """A [T, n, N] in float64; the gradient reaches the Gram matrix, through the conditions of optimality.

    Args:
        gram: X X^T, [T, n, n].
        target: Y, [T, n, N].
        bound: C, above 0.
        passes: 0 = until it is solved; else the best point among those that so many passes of qpth (Amos and Kolter,
            ICML 2017) measure. They start from its initial point, and a pass measures before it steps, so 3 passes are
            two steps.

    Raises:
        UserError: where a problem cannot be solved.
    """
    return _Duals.apply(gram.double(), target.double(), bound, passes)


class _Duals(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gram: Tensor, target: Tensor, bound: float, passes: int) -> Tensor:
        matrix = gram + torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
        solve = _solve_compiled if gram.device.type == "cpu" else _solve
        a, slack, multiplier, residual = solve(matrix, target.transpose(1, 2).contiguous(), bound, passes)
        if not passes and not (residual <= ENOUGH).all():
            unsolved = int((~(residual <= ENOUGH)).sum())
            raise UserError(
                f"The support vector machines of {unsolved} of {len(residual)} tasks cannot be solved: features are "
                "infinite or too large; lower the learning rate."
            )
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(matrix, a, slack, multiplier)
        return a.transpose(1, 2).contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """With U the step for the right side dL/dA, dL/dK = -(U A^T + A U^T) / 2."""
        matrix, a, slack, multiplier = ctx.saved_tensors
        step, _ = JoinedSystems(matrix, multiplier.clamp(min=SMALLEST) / slack.clamp(min=SMALLEST)).solve(
            gradient.transpose(1, 2)
        )
        product = step.transpose(1, 2) @ a
        return -(product + product.transpose(1, 2)) / 2, None, None, None


@dataclass
class _Point:
    """Primal and dual variables of T problems, class by class."""

    a: Tensor  # A^T, [T, N, n]
    slack: Tensor  # S of A + S = C Y, above 0
    multiplier: Tensor  # Z of A <= C Y, above 0
    shared: Tensor  # nu of A 1 = 0, [T, 1, n]

    def moved(self, step: _Point, length: Tensor) -> _Point:
        """The point after a step of some length [T, 1, 1]."""
        return _Point(*(x + length * dx for x, dx in zip(self.parts(), step.parts(), strict=True)))

    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.a, self.slack, self.multiplier, self.shared

    def reach(self, step: _Point) -> Tensor:
        """The longest step, [T, 1, 1], that keeps slacks and multipliers from falling below 0."""
        shrink = torch.maximum(-step.slack / self.slack, -step.multiplier / self.multiplier)
        return 1 / shrink.amax((1, 2), keepdim=True).clamp(min=1e-30)


def _solve_compiled(matrix: Tensor, target: Tensor, bound: float, passes: int) -> Solution:
    """The same steps on a CPU."""
    from .svm_compiled import solve  # imports numba

    return solve(matrix, target, bound, passes, PASSES, SOLVED, ENOUGH, STALLED, CAREFUL)


def _solve(matrix: Tensor, target: Tensor, bound: float, passes: int) -> Solution:
    """Mehrotra's predictor and corrector (SIAM J. Optim. 1992) on M [T, n, n] and Y^T [T, N, n]; tasks stop one by one.

    Returns:
        A^T, slacks and multipliers, each [T, N, n], and residuals [T].
    """
    point = best = _start(matrix, target, bound)
    least = torch.full_like(matrix[:, :1, :1], torch.inf)
    stalls, going = torch.zeros_like(least), torch.ones_like(least, dtype=torch.bool)
    for _ in range(passes or PASSES):
        gap = (point.slack * point.multiplier).mean((1, 2), keepdim=True)
        uneven = point.a @ matrix - target + point.multiplier + point.shared
        short = point.a + point.slack - bound * target
        residual = _norm(uneven) + _norm(short) + gap * target[0].numel()
        better = going & (residual < least)  # a finished task stays as it is alone, whatever the others do
        best = _Point(*(torch.where(better, x, y) for x, y in zip(point.parts(), best.parts(), strict=True)))
        stalls = torch.where(better, 0, stalls + 1)
        least = torch.where(better, residual, least)
        if not passes:
            going = going & (least > SOLVED) & ((stalls < STALLED) | (least > ENOUGH))
            if not going.any():
                break
        point = _step(matrix, point, uneven, short, gap, torch.zeros_like(stalls) if passes else stalls)
    return best.a, best.slack, best.multiplier, least.flatten()


def _start(matrix: Tensor, target: Tensor, bound: float) -> _Point:
    """qpth's initial point: where S + Z = 0, then both shifted to be 1 or more if one of them is below 0."""
    a, shared = JoinedSystems(matrix, torch.ones_like(target)).solve((1 + bound) * target)
    slack = bound * target - a

    def positive(x: Tensor) -> Tensor:
        least = x.amin((1, 2), keepdim=True)
        return torch.where(least < 0, x - least + 1, x)

    return _Point(a, positive(slack), positive(-slack), shared)


def _step(matrix: Tensor, point: _Point, uneven: Tensor, short: Tensor, gap: Tensor, stalls: Tensor) -> _Point:
    """The next point; `uneven` and `short` are what the conditions of the gradient and of the slacks miss.

    A task that stalls takes a careful step.
    """
    ratio = point.multiplier / point.slack
    newton = JoinedSystems(matrix, ratio)

    def direction(product: Tensor) -> _Point:
        """The step after which S Z is smaller by `product`, to first order."""
        pulled = product / point.slack - ratio * short
        da, dshared = newton.solve(pulled - uneven)
        return _Point(da, -da - short, ratio * da - pulled, dshared)

    product = point.slack * point.multiplier
    predicted = direction(product)
    ahead = point.moved(predicted, point.reach(predicted).clamp(max=1))
    centre = ((ahead.slack * ahead.multiplier).mean((1, 2), keepdim=True) / gap) ** 3 * gap
    corrected = product - centre + predicted.slack * predicted.multiplier
    step = direction(torch.where(stalls > 0, product - CAREFUL * gap, corrected))
    return point.moved(step, (0.999 * point.reach(step)).clamp(max=1))


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)[:, None, None]
