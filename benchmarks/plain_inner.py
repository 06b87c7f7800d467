"""Heads that adapt in a task, written plainly for one task: gradients of the weights by autograd; see bench_heads.py.

iMAMLHead takes Newton's steps with PyTorch's Hessian.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from core.episode import Task
from core.methods.e3bm import E3BM, centred
from core.methods.imaml import IMAMLHead
from core.methods.inner_loop import LearnedHead


def given(task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Supports, labels and queries of one task."""
    return task.support["vector"][0], task.support_y[0], task.query["vector"][0]


def descended(lr: float, steps: int) -> Callable[[LearnedHead, Task], Tensor]:
    """Gradient descent on the weights of a linear head."""

    @torch.enable_grad()
    def logits(method: LearnedHead, task: Task) -> Tensor:
        support, labels, query = given(task)
        weight, bias = (p.detach().requires_grad_() for p in method.head.parameters())
        for _ in range(steps):
            of_weight, of_bias = torch.autograd.grad(
                F.cross_entropy(F.linear(support, weight, bias), labels), (weight, bias)
            )
            weight = (weight - lr * of_weight).detach().requires_grad_()
            bias = (bias - lr * of_bias).detach().requires_grad_()
        return F.linear(query, weight, bias)

    return logits


@torch.enable_grad()
def newton(method: IMAMLHead, task: Task, steps: int = 8) -> Tensor:
    """Newton's steps with a line search on the coefficients of the supports, with their Hessian by autograd."""
    support, labels, query = given(task)
    z, q = (F.pad(x, (0, 1), value=1.0).double() for x in (support, query))
    start = torch.cat([method.head.weight, method.head.bias[:, None]], 1).detach().double()
    gram, initial, way = z @ z.T, z @ start.T, len(start)

    def height(a: Tensor) -> Tensor:
        rows = a.view(len(z), way)
        fit = F.cross_entropy(initial + gram @ rows, labels)
        return fit + method.penalty / 2 * (rows * (gram @ rows)).sum()

    a = torch.zeros(len(z) * way, dtype=z.dtype)
    for _ in range(steps):
        hessian = torch.autograd.functional.hessian(height, a)
        slope = torch.autograd.functional.jacobian(height, a)
        step = torch.linalg.lstsq(hessian, slope[:, None]).solution[:, 0]
        while height(a - step) > height(a) + 1e-12:
            step = step / 2
        a = a - step
    return (q @ start.T + q @ z.T @ a.view(len(z), way)).float()


@torch.no_grad()
def ensemble(method: E3BM, task: Task) -> Tensor:
    """E3BM's steps on the rows themselves."""
    support, labels, query = given(task)
    z, q = centred(support), F.normalize(centred(query), dim=-1)
    rows = torch.stack([z[labels == n].mean(0) for n in range(task.way)])
    mean, unit = z.mean(0), F.normalize(z, dim=-1)
    total = torch.zeros(len(q), task.way)
    for step in range(len(method.rates.start)):
        at = rows.requires_grad_()
        with torch.enable_grad():
            loss = F.cross_entropy(method.sharpness * unit @ F.normalize(at, dim=-1).T, labels)
            (gradient,) = torch.autograd.grad(loss, at)
        context = torch.cat([mean, gradient.mean(0)])
        rate, weight = (
            p.start[step] + p.REACH * (p.map.weight[step] @ context + p.map.bias[step])
            for p in (method.rates, method.weights)
        )
        rows = (rows - rate * gradient).detach()
        total += weight * method.sharpness * q @ F.normalize(rows, dim=-1).T
    return total
