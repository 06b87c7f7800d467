"""Logistic regression for T tasks at once, by Newton's method in the span of the supports."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .adapt import Head

HALVINGS = 40  # of a step, at most
ROUNDING = 1e-12  # share of a loss that its last digits are worth
SMALLEST = 1e-100  # mean squared length of supports; all of a task may be 0
BIAS_HOLD = 1e-6  # penalty of the biases, against a common shift, which changes no probability


def fit_logistic(
    support: Tensor, labels: Tensor, way: int, inverse_penalty: float = 1.0, steps: int = 50, tolerance: float = 1e-8
) -> Head:
    """Minimise |W|^2 / 2 + C * sum_i w_i CE(W z_i + b, y_i) for each task; the bias b is not penalised.

    Support i of a class with n_y supports has the weight w_i = n / (N n_y), so that all classes weigh the same: else
    the bias learns how many supports a class has, and answers with the largest. Of equal shots all weights are 1. This
    is what scikit-learn's LogisticRegression(C=C, class_weight="balanced") solves.

    The rows of the minimiser are combinations of the supports. So with K = Z Z^T = L L^T the rows of L can replace the
    supports, and there are N (n + 1) unknowns for any width d. Newton's equations are solved by conjugate gradients,
    preconditioned by the bound C X^T X / 2 + penalty on the Hessian (Boehning 1992). A step that does not lower a
    task's loss is halved until it does. Computed in float64.

    Args:
        support: [T, n, d].
        labels: [T, n] in 0..N-1.
        way: N.
        inverse_penalty: C.
        steps: the most Newton steps.
        tolerance: a task stops once no entry of its gradient is larger.
    """
    z = support.double()
    gram = z @ z.transpose(1, 2)
    size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=SMALLEST)[:, None, None]
    root = torch.linalg.cholesky(gram + 1e-10 * size * torch.eye(z.shape[1], dtype=z.dtype, device=z.device))
    inputs = F.pad(root, (0, 1), value=1.0)  # [T, n, n + 1], the last column for the bias
    target = F.one_hot(labels, way).to(z.dtype)
    weight = _class_weights(target)
    penalty = torch.ones(inputs.shape[2], dtype=z.dtype, device=z.device)
    penalty[-1] = 0
    bound = inverse_penalty / 2 * inputs.transpose(1, 2) @ (weight * inputs)
    bound.diagonal(dim1=1, dim2=2).add_(penalty + BIAS_HOLD * (penalty == 0))
    bound = torch.linalg.cholesky(bound)
    rows = z.new_zeros(len(z), way, inputs.shape[2])
    loss = _Loss(inputs, target, weight, penalty, inverse_penalty)
    value = loss(rows)
    for _ in range(steps):
        probability = (inputs @ rows.transpose(1, 2)).softmax(-1)
        gradient = inverse_penalty * (weight * (probability - target)).transpose(1, 2) @ inputs + penalty * rows
        going = gradient.abs().amax((1, 2)) >= tolerance  # each task stops by itself, whatever the others do
        if not going.any():
            break
        step = _Curvature(probability, inputs, weight, penalty, inverse_penalty, bound).solve(gradient)
        rows, value = loss.lowered(rows, value, going[:, None, None] * step)
    coefficients = torch.linalg.solve_triangular(root.transpose(1, 2), rows[..., :-1].transpose(1, 2), upper=True)
    matrix = coefficients.transpose(1, 2) @ z
    return Head(matrix.to(support.dtype), 1.0, cosine=False, bias=rows[..., -1].to(support.dtype))


def _class_weights(target: Tensor) -> Tensor:
    """n / (N n_y) of each support, [T, n, 1], from one-hot labels [T, n, N]."""
    of_class = target.sum(1, keepdim=True)
    return (target.shape[1] / (target.shape[2] * of_class.clamp(min=1)) * target).sum(2, keepdim=True)


@dataclass(frozen=True)
class _Loss:
    """What is minimised, as a function of rows [T, N, n + 1]."""

    inputs: Tensor
    target: Tensor
    weight: Tensor  # of each support, [T, n, 1]
    penalty: Tensor
    inverse_penalty: float

    def __call__(self, rows: Tensor) -> Tensor:
        """The loss of each task, [T]."""
        entropy = -(self.weight * self.target * (self.inputs @ rows.transpose(1, 2)).log_softmax(-1)).sum((1, 2))
        return self.inverse_penalty * entropy + (self.penalty * rows * rows).sum((1, 2)) / 2

    def lowered(self, rows: Tensor, value: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """rows - step with its losses [T], where a step is halved as long as it makes its task's loss larger.

        `value` [T] are the losses of `rows`. Rounding decides the last digits, so a loss may grow by these.
        """
        most = value + ROUNDING * value.abs()
        for _ in range(HALVINGS):
            lower = self(rows - step)
            worse = ~(lower <= most)
            if not worse.any():
                break
            step = torch.where(worse[:, None, None], step / 2, step)
        return rows - step, lower


@dataclass(frozen=True)
class _Curvature:
    """The Hessian at the probabilities [T, n, N], as a linear map of rows [T, N, n + 1]."""

    probability: Tensor
    inputs: Tensor
    weight: Tensor  # of each support, [T, n, 1]
    penalty: Tensor
    inverse_penalty: float
    bound: Tensor  # Cholesky factor [T, n + 1, n + 1] of the preconditioner

    def times(self, rows: Tensor) -> Tensor:
        """Hessian @ rows."""
        p, logits = self.probability, self.inputs @ rows.transpose(1, 2)
        curved = self.weight * p * (logits - (p * logits).sum(-1, keepdim=True))
        hold = self.penalty + BIAS_HOLD * (self.penalty == 0)
        return self.inverse_penalty * curved.transpose(1, 2) @ self.inputs + hold * rows

    def solve(self, gradient: Tensor, iterations: int = 60) -> Tensor:
        """Hessian^-1 gradient. The smaller the gradient, the more exact: so Newton's method converges quadratically."""
        size = gradient.abs().amax((1, 2))
        enough = size * size.sqrt().clamp(max=0.1)
        residual, solution = gradient, torch.zeros_like(gradient)
        direction = scaled = self._precondition(residual)
        product = (residual * scaled).sum((1, 2))
        going = torch.ones_like(product, dtype=torch.bool)
        for _ in range(iterations):
            curved = self.times(direction)
            length = going * product / (direction * curved).sum((1, 2)).clamp(min=1e-300)
            solution = solution + length[:, None, None] * direction
            residual = residual - length[:, None, None] * curved
            going = going & (residual.abs().amax((1, 2)) > enough)
            if not going.any():
                break
            scaled = self._precondition(residual)
            before, product = product, (residual * scaled).sum((1, 2))
            direction = scaled + (product / before.clamp(min=1e-300))[:, None, None] * direction
        return solution

    def _precondition(self, rows: Tensor) -> Tensor:
        """Multiply rows by the inverse of the bound, which is the same for every class."""
        return torch.cholesky_solve(rows.transpose(1, 2), self.bound).transpose(1, 2)
