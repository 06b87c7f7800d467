"""Fine-tuned heads, all tasks at once.

Gradient steps on a head's row w_j only ever add multiples of w_j and of the supports z_i, so the row stays

    w_j = c_j w_j(0) + sum_i a_ji z_i,

and SGD can run on the n + 1 coefficients with the Gram matrix of the supports instead of on d weights. The result
is the weight-space result up to rounding, at a cost that does not depend on d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.ops import random


@dataclass(frozen=True)
class HeadSGD:
    """SGD on a few-shot head: `passes` over the supports in mini-batches of `batch`, reshuffled each pass.

    Momentum and dampening follow torch.optim.SGD: the first step is not dampened.
    """

    passes: int = 100
    batch: int = 4
    lr: float = 0.01
    momentum: float = 0.9
    dampening: float = 0.9
    weight_decay: float = 1e-3


def fit_cosine_head(support: Tensor, labels: Tensor, start: Tensor, seed: Tensor, scale: float, sgd: HeadSGD) -> Tensor:
    """Minimise the cross-entropy of scale * cos(z, w) over the supports of each task.

    Args:
        support: [T, n, d] features, of any length.
        labels: [T, n] in 0..N-1.
        start: [T, N, d] initial rows.
        seed: [T], decides the order of the mini-batches.
        scale: multiplies the cosine.
        sgd: the recipe.

    Returns:
        [T, N, d] rows after the last step.
    """
    z = F.normalize(support, dim=-1)
    head = _GramHead(z, start)
    target = F.one_hot(labels, start.shape[1]).to(z.dtype).transpose(1, 2)
    order = random.permutation(random.hashes(seed, "head-passes", sgd.passes), "order", z.shape[1])
    for step_order in order.unbind(1):
        for batch in step_order.split(sgd.batch, dim=1):
            head.step(batch, target, scale, sgd)
    return head.c[..., None] * start + head.a @ z


class _GramHead:
    """Coefficients of the rows of T cosine heads, and their momentum."""

    def __init__(self, z: Tensor, start: Tensor) -> None:
        self.gram = z @ z.transpose(1, 2)  # [T, n, n] <z_i, z_k>
        self.cross = start @ z.transpose(1, 2)  # [T, N, n] <w_j(0), z_i>
        self.square = start.square().sum(-1)  # [T, N] |w_j(0)|^2
        self.a = torch.zeros_like(self.cross)
        self.c = torch.ones_like(self.square)
        self.momentum: tuple[Tensor, Tensor] | None = None

    def step(self, batch: Tensor, target: Tensor, scale: float, sgd: HeadSGD) -> None:
        """One SGD step on supports `batch` [T, b]; `target` [T, N, n] is one-hot."""
        from_supports = self.a @ self.gram
        dots = from_supports + self.c[..., None] * self.cross  # [T, N, n] <w_j, z_i>
        mixed = (self.a * self.cross).sum(-1)
        norm2 = (self.a * from_supports).sum(-1) + 2 * self.c * mixed + self.c.square() * self.square
        columns = batch[:, None].expand(-1, self.a.shape[1], -1)
        cosine = dots.gather(2, columns) * norm2.rsqrt()[..., None]
        error = ((scale * cosine).softmax(1) - target.gather(2, columns)) * (scale / batch.shape[1])
        along_row = sgd.weight_decay - (error * cosine).sum(-1) / norm2
        gradient_a = along_row[..., None] * self.a
        gradient_a.scatter_add_(2, columns, error * norm2.rsqrt()[..., None])
        self._descend(gradient_a, along_row * self.c, sgd)

    def _descend(self, gradient_a: Tensor, gradient_c: Tensor, sgd: HeadSGD) -> None:
        if self.momentum is None:
            self.momentum = (gradient_a, gradient_c)
        for buffer, gradient in zip(self.momentum, (gradient_a, gradient_c), strict=True):
            if buffer is not gradient:
                buffer.mul_(sgd.momentum).add_(gradient, alpha=1 - sgd.dampening)
        self.a = self.a - sgd.lr * self.momentum[0]
        self.c = self.c - sgd.lr * self.momentum[1]
