"""A minimum near a start, differentiated by what holds there instead of through the steps that lead to it.

    phi(theta) = argmin L(phi) + penalty / 2 |phi - theta|^2,    d phi / d theta = (I + H / penalty)^-1,

with the Hessian H of L at phi (Rajeswaran et al., "Meta-Learning with Implicit Gradients", NeurIPS 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Proximal:
    """How the minimum is found: `steps` of gradient descent at `lr`; its gradient by `cg_steps` of conjugate gradients.

    `penalty` is that of the distance from the start. The system of the gradient is (1 + damping) I + H / (penalty +
    10 damping): that of the condition without damping, and with damping 1 that of the authors' code.
    """

    penalty: float
    lr: float
    steps: int
    cg_steps: int
    damping: float = 0.0


def proximal_minimum(theta: Tensor, loss: Loss, problem: Proximal) -> Tensor:
    """phi(theta) for a vector [p], with the implicit gradient by theta; `loss` maps [p] to a scalar.

    The loss must not hold other tensors that learn: no gradient reaches them.
    """
    return _Minimum.apply(theta, loss, problem)


class _Minimum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, loss: Loss, problem: Proximal) -> Tensor:
        phi = theta.detach()
        for _ in range(problem.steps):
            slope = gradient(loss, phi) + problem.penalty * (phi - theta.detach())
            phi = phi - problem.lr * slope
        ctx.save_for_backward(phi)
        ctx.loss, ctx.problem = loss, problem
        return phi.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor, None, None]:
        (phi,) = ctx.saved_tensors
        with torch.enable_grad():
            at = phi.detach().requires_grad_()
            (slope,) = torch.autograd.grad(ctx.loss(at), at, create_graph=True)

        problem = ctx.problem

        def curved(direction: Tensor) -> Tensor:
            (product,) = torch.autograd.grad(slope, at, direction, retain_graph=True)
            return (1 + problem.damping) * direction + product / (problem.penalty + 10 * problem.damping)

        return conjugate_gradients(curved, of_outputs[0], problem.cg_steps), None, None


def gradient(loss: Loss, at: Tensor) -> Tensor:
    """The gradient of a loss at a point [p], whatever the mode of autograd."""
    with torch.enable_grad():
        point = at.detach().requires_grad_()
        return torch.autograd.grad(loss(point), point)[0]


def conjugate_gradients(matrix: Callable[[Tensor], Tensor], target: Tensor, steps: int) -> Tensor:
    """`steps` of conjugate gradients for matrix(x) = target [p], from x = 0; exact after p steps, up to rounding."""
    x, residual = torch.zeros_like(target), target
    direction, square = residual, residual.dot(residual)
    for _ in range(steps):
        if square == 0:
            break
        curved = matrix(direction)
        length = square / direction.dot(curved)
        x, residual = x + length * direction, residual - length * curved
        before, square = square, residual.dot(residual)
        direction = residual + square / before * direction
    return x
