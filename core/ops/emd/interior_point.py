"""An interior-point method for many transportation problems at once, with or without a quadratic term, on any device.

    minimise <C, X> + l/2 |X|^2  subject to  X 1 = a, X^T 1 = b, X >= 0

by Mehrotra's predictor and corrector (SIAM J. Optim. 1992). With D = X / (Z + l X) the rows are eliminated from the
normal equations. A step then needs one Cholesky factor of size m - 1, with or without the quadratic term.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UserError

STEPS = 100
GAP = 1e-10  # a problem is solved once <X, Z>, relative to the scale of its costs, is this small
NEGLIGIBLE = 1e-10  # a weight this small, relative to the mean, has no interior: its row or column is left out
QP_STRENGTH = 1e-4  # l of DeepEMD's form QP


def interior_point(
    cost: Tensor, a: Tensor, b: Tensor, strength: float | Tensor = 0.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Flow [k, n, m], duals u and v, and strength / 2 |X|^2 [k].

    Args:
        cost: [k, n, m], float64.
        a: [k, n], what rows supply.
        b: [k, m], what columns demand, with the same total.
        strength: l, one number or [k].

    A solved problem stops while others go on, so that it has the same answer alone and among others.

    Raises:
        UserError: where a problem is not solved in 100 steps.
    """
    strength = torch.as_tensor(strength, dtype=cost.dtype, device=cost.device).expand(len(cost))[:, None, None]
    total = a.sum(1, keepdim=True)
    scale = total.clamp(min=torch.finfo(a.dtype).tiny)
    rows, columns = (_interior(weight / scale) for weight in (a, b))  # totals of 1
    present = (rows > 0)[:, :, None] & (columns > 0)[:, None]
    # With X = total * Y the term is total * (<C, Y> + l total / 2 |Y|^2): a problem in Y.
    inner = strength * total[..., None]
    x = rows[:, :, None] * columns[:, None]
    spread = (cost.amax((1, 2)) - cost.amin((1, 2)) + inner.flatten())[:, None, None]
    size = spread + cost.abs().amax((1, 2), keepdim=True) * 1e-6 + 1e-30
    u, v = (cost.amin(2) - 0.1 * size[..., 0]), torch.zeros_like(columns)
    for _ in range(STEPS):
        z = torch.where(present, cost + inner * x - u[:, :, None] - v[:, None], 1.0)
        gap = (x * z).sum((1, 2), keepdim=True)
        short = rows - x.sum(2), columns - x.sum(1)  # by rounding alone: steps keep the marginals
        shortfall = torch.maximum(*(part.abs().amax(1) for part in short))[:, None, None]
        going = ~((gap <= GAP * size) & (shortfall <= GAP))  # a NaN goes on
        if not going.any():
            break
        step = _Step(x, z, inner, present, *short)
        mean = gap / x[0].numel()
        dx, du, dv, dz = step.solve(-x * z)
        reach = _reach(x, dx, z, dz)
        predicted = ((x + reach * dx) * (z + reach * dz)).sum((1, 2), keepdim=True)
        centre = torch.maximum((predicted / gap) ** 3 * mean, 0.1 * GAP * size / x[0].numel())
        dx, du, dv, dz = step.solve(centre - x * z - dx * dz)
        reach = torch.where(going, 0.995 * _reach(x, dx, z, dz), 0.0)
        x, u, v = x + reach * dx, u + reach[..., 0] * du, v + reach[..., 0] * dv
    else:
        raise UserError(
            f"METHOD.ARGS.solver is interior_point, which left {int(going.sum())} of {len(cost)} problems unsolved "
            f"after {STEPS} steps; set solver: simplex."
        )
    u, v = _complete(cost, u, v, rows, columns)
    flow = x * total[..., None]
    return flow, u, v, (strength / 2 * flow.square()).sum((1, 2))


def quadratic_form(cost: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """DeepEMD's form QP, 1/2 <C, X>^2 + l/2 |X|^2 with l = 1e-4, by its equivalent L2 problem.

    Dividing its optimality conditions by <C, X> shows that its flow is that of strength l / <C, X>, which is
    found by fixed-point iteration. The value and the duals are those of the L2 problem.
    """
    strength = torch.full_like(a[:, 0], QP_STRENGTH)
    for _ in range(8):
        flow = interior_point(cost, a, b, strength)[0]
        value = (cost * flow).sum((1, 2))
        strength = (strength * QP_STRENGTH / value.clamp(min=1e-6)).sqrt()
    return interior_point(cost, a, b, QP_STRENGTH / value.clamp(min=1e-6))


def _interior(weight: Tensor) -> Tensor:
    """The weights scaled to a total of 1, with 0 for the negligible ones."""
    positive = torch.where(weight > NEGLIGIBLE / weight.shape[1], weight, 0.0)
    return positive / positive.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def _complete(cost: Tensor, u: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """The largest feasible duals where a row or a column was left out."""
    largest = torch.where((rows > 0)[:, :, None], cost - u[:, :, None], torch.inf).amin(1)
    v = torch.where((columns > 0) | largest.isinf(), v, largest)
    return torch.where(rows > 0, u, (cost - v[:, None]).amin(2)), v


def _reach(x: Tensor, dx: Tensor, z: Tensor, dz: Tensor) -> Tensor:
    """The longest step, at most 1, that keeps x and z non-negative: [k, 1, 1]."""
    ratio = torch.maximum(
        (-dx / torch.where(x > 0, x, 1.0)).amax((1, 2), keepdim=True), (-dz / z).amax((1, 2), keepdim=True)
    )
    return 1 / ratio.clamp(min=1)


class _Step:
    """Newton's equations at one point, where the dual is feasible and the marginals fall `short` by rounding alone."""

    def __init__(self, x: Tensor, z: Tensor, strength: Tensor, present: Tensor, *short: Tensor) -> None:
        self.strength, self.present, self.short = strength, present, short
        self.inverse = torch.where(present, 1 / (z + strength * x), 0.0)
        self.d = x * self.inverse
        row = self.d.sum(2)
        self.row = row + (row == 0)
        self.scaled = self.d / self.row[:, :, None]
        crossed = self.d.transpose(1, 2) @ self.scaled
        crossed.diagonal(dim1=1, dim2=2).zero_()
        diagonal = crossed.sum(2)  # a sum of positive numbers, so that nothing cancels
        # A Laplacian is singular. The extra weight fixes the dual of the heaviest column, which the equations allow.
        heaviest = F.one_hot(diagonal.argmax(1), diagonal.shape[1]).to(diagonal)
        regular = diagonal * (1 + 1e-13 + heaviest) + (diagonal == 0)
        self.factor, failed = torch.linalg.cholesky_ex(torch.diag_embed(regular) - crossed)
        if failed.any():  # near a degenerate optimum; the next step corrects the error of this ridge
            regular = regular + 1e-9 * diagonal * (failed > 0)[:, None]
            self.factor = torch.linalg.cholesky_ex(torch.diag_embed(regular) - crossed)[0]

    def solve(self, product: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Steps dX, du, dv, dZ after which Z dX + X dZ equals `product`."""
        pulled = self.inverse * product
        by_row, by_column = self.short[0] - pulled.sum(2), self.short[1] - pulled.sum(1)
        right = by_column - (self.scaled.transpose(1, 2) @ by_row[..., None])[..., 0]
        dv = torch.cholesky_solve(right[..., None], self.factor)[..., 0]
        du = (by_row - (self.d @ dv[..., None])[..., 0]) / self.row
        dx = self.d * (du[:, :, None] + dv[:, None]) + pulled
        dz = torch.where(self.present, self.strength * dx - du[:, :, None] - dv[:, None], 0.0)
        return dx, du, dv, dz
