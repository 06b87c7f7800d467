"""Linear heads held near a common start: the exact minimum for T tasks at once, and its implicit gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .joined_systems import JoinedSystems

SMALLEST = 1e-100  # probability, whose reciprocal is taken


def proximal_logits(
    support: Tensor, labels: Tensor, query: Tensor, weight: Tensor, bias: Tensor, penalty: float, steps: int = 50
) -> Tensor:
    """Query logits of the heads W that minimise mean CE(W z, y) + penalty / 2 |W - W0|^2 over each task's supports.

    With a column of ones behind each vector the bias is one more weight. At the minimum W = W0 + A^T Z with
    A = -(P - Y) / (penalty n), so the unknowns are the N n numbers of A, for any width. Newton's method with a line
    search finds them in float64, with a factor of n x n for each class. One more step of it, with its matrix held
    constant, changes no value and has the gradient that the condition at the minimum implies.

    Args:
        support: [T, n, d].
        labels: [T, n] in 0..N-1.
        query: [T, Q, d].
        weight: [N, d] of W0.
        bias: [N] of W0.
        penalty: of the distance from W0, above 0.
        steps: the most steps of Newton's method.

    Returns:
        [T, Q, N].
    """
    z = support.double()
    initial = F.linear(z, weight.double(), bias.double()).transpose(1, 2)
    target = F.one_hot(labels, len(weight)).to(z.dtype).transpose(1, 2)
    head = _Condition(1 + z @ z.transpose(1, 2), initial, target, 1 / (penalty * support.shape[1]))
    with torch.no_grad():
        a = head.solve(steps)
        systems = head.systems(a)
    a = (a - head.step(systems, head.residual(a))).transpose(1, 2).to(query.dtype)
    return F.linear(query, weight, bias) + (1 + query @ support.transpose(1, 2)) @ a


class _Condition:
    """A + strength (softmax(L0 + A G) - Y) = 0 for A [T, N, n], with the Gram matrix G and the initial logits L0."""

    def __init__(self, gram: Tensor, initial: Tensor, target: Tensor, strength: float) -> None:
        self.gram, self.initial, self.target, self.strength = gram, initial, target, strength

    def residual(self, a: Tensor) -> Tensor:
        """The left side, [T, N, n]: the gradient of `height`, up to a factor and G."""
        return a + self.strength * ((self.initial + a @ self.gram).softmax(1) - self.target)

    def height(self, a: Tensor) -> Tensor:
        """What is minimised, [T], in units of strength: sum CE + |A|_G^2 / (2 strength)."""
        moved = a @ self.gram
        fit = -(self.target * (self.initial + moved).log_softmax(1)).sum((1, 2))
        return fit + (a * moved).sum((1, 2)) / (2 * self.strength)

    def systems(self, a: Tensor) -> JoinedSystems:
        """What `step` needs of the derivative at A."""
        p = (self.initial + a @ self.gram).softmax(1).clamp(min=SMALLEST)
        return JoinedSystems(self.strength * self.gram, 1 / p)

    def step(self, systems: JoinedSystems, residual: Tensor) -> Tensor:
        """Newton's step [T, N, n] for the residuals R.

        The derivative of the condition, A_m + strength P_m (G A_m - u) = R_m with u_i = sum_m p_im (G A_m)_i, falls
        into systems (strength G + 1 / P_m) x_m + u = G R_m of the classes, with A_m = R_m - strength x_m.
        """
        return residual - self.strength * systems.solve(residual @ self.gram)[0]

    def solve(self, steps: int) -> Tensor:
        """A by Newton's method from A = 0; each task stops by itself, whatever the others do."""
        a = torch.zeros_like(self.initial)
        for _ in range(steps):
            residual = self.residual(a)
            going = residual.abs().amax((1, 2)) > 1e-13 * self.strength
            if not going.any():
                break
            step = self.step(self.systems(a), residual)
            a = a - (going * self.length(a, step, residual))[:, None, None] * step
        return a

    def length(self, a: Tensor, step: Tensor, residual: Tensor) -> Tensor:
        """The share [T] of a step to take: halved until the height falls by a part of what its slope promises."""
        height = self.height(a)
        slope = (residual @ self.gram * step).sum((1, 2)) / self.strength
        length = torch.ones_like(height)
        for _ in range(40):
            short = self.height(a - length[:, None, None] * step) > height - 1e-4 * length * slope + 1e-12
            if not short.any():
                break
            length = torch.where(short, length / 2, length)
        return length
