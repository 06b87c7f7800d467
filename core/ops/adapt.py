"""Linear and cosine heads fine-tuned on the supports, all tasks at once.

A gradient step on a head's row w_j adds multiples of w_j and of the supports z_i, so the row always has the form

    w_j = c_j w_j(0) + sum_i a_ji z_i.

SGD can therefore run on the n + 1 coefficients of each row, with the Gram matrix of the supports, instead of on its d
weights. The result is the same up to rounding, and the cost does not depend on d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import random


@dataclass(frozen=True)
class HeadSGD:
    """SGD on a few-shot head: `passes` over the supports in mini-batches of `batch`, reshuffled each pass.

    `steps`, where it is not 0, replaces `passes`: the last pass may then end early. With `drop_last` a pass leaves out
    a mini-batch that is not full, unless it is the only one. Momentum and dampening follow torch.optim.SGD: the first
    step is not dampened.
    """

    passes: int = 100
    steps: int = 0
    batch: int = 4
    lr: float = 0.01
    momentum: float = 0.9
    dampening: float = 0.9
    weight_decay: float = 1e-3
    drop_last: bool = False

    def batches(self, seed: Tensor, supports: int) -> list[Tensor]:
        """Indices [T, <= batch] of the supports in each step; the seeds [T] decide their order."""
        drops = self.drop_last and supports >= self.batch
        steps_a_pass = supports // self.batch if drops else -(-supports // self.batch)
        passes = -(-self.steps // steps_a_pass) if self.steps else self.passes
        order = random.permutation(random.hashes(seed, "head-passes", passes), "order", supports)
        by_pass = [pass_order.split(self.batch, dim=1)[:steps_a_pass] for pass_order in order.unbind(1)]
        steps = [batch for batches in by_pass for batch in batches]
        return steps[: self.steps or None]


@dataclass(frozen=True)
class Head:
    """Linear or cosine heads of T tasks: the query logits are `logits(query)`."""

    weight: Tensor  # [T, N, d]
    scale: float
    cosine: bool
    bias: Tensor | None = None  # [T, N], linear heads
    norm: Tensor | None = None  # [T, N], factor of each row's cosine

    def logits(self, query: Tensor) -> Tensor:
        """Queries [T, Q, d] to [T, Q, N]."""
        weight = self.weight
        if self.cosine:
            query, weight = F.normalize(query, dim=-1), F.normalize(weight, dim=-1)
        logits = self.scale * (query @ weight.transpose(1, 2))
        if self.norm is not None:
            logits = logits * self.norm[:, None]
        return logits if self.bias is None else logits + self.bias[:, None]


def fit_cosine_head(
    support: Tensor, labels: Tensor, start: Tensor, seed: Tensor, scale: float, sgd: HeadSGD, learn_norm: bool = False
) -> Head:
    """Minimise the cross-entropy of scale * cos(z, w) over the supports of each task.

    Args:
        support: [T, n, d] features, of any length.
        labels: [T, n] in 0..N-1.
        start: [T, N, d] initial rows.
        seed: [T], decides the order of the mini-batches.
        scale: multiplies the cosine.
        sgd: the recipe.
        learn_norm: whether each row has a factor that is trained like a weight and starts at the initial row's length
            (weight normalisation, Salimans and Kingma 2016).
    """
    z = F.normalize(support, dim=-1)
    fitted = _CosineHead(z, start, scale, learn_norm)
    _descend(fitted, labels, seed, sgd)
    return Head(fitted.weight(start, z), scale, cosine=True, norm=fitted.parameters[2] if learn_norm else None)


def fit_linear_head(
    support: Tensor, labels: Tensor, start: Tensor, seed: Tensor, scale: float, sgd: HeadSGD, bias: Tensor | None = None
) -> Head:
    """Minimise the cross-entropy of scale * <z, w> + b over the supports of each task.

    Arguments are those of `fit_cosine_head`; `bias` [T, N] is where b starts, None = no bias.
    """
    fitted = _LinearHead(support, start, scale, bias)
    _descend(fitted, labels, seed, sgd)
    return Head(
        fitted.weight(start, support), scale, cosine=False, bias=fitted.parameters[2] if bias is not None else None
    )


def descended_logits(
    support: Tensor,
    labels: Tensor,
    query: Tensor,
    weight: Tensor,
    bias: Tensor,
    lr: float,
    steps: int,
    first_order: bool = False,
) -> Tensor:
    """Query logits of linear heads after gradient descent on the mean cross-entropy of all supports; differentiable.

    All tasks start from the same head, and only the coefficients a_ji of the supports move. With a column of ones
    behind each vector the bias is one more weight.

    Args:
        support: [T, n, d] features.
        labels: [T, n] in 0..N-1.
        query: [T, Q, d].
        weight: [N, d], where the rows start.
        bias: [N], where the biases start.
        lr: step size.
        steps: how many.
        first_order: treat the steps as constants: gradients reach the start, and the features of the queries alone.

    Returns:
        [T, Q, N].
    """
    start, bias_start = weight, bias
    if first_order:
        support, weight, bias = support.detach(), weight.detach(), bias.detach()
    target = F.one_hot(labels, len(weight)).to(support.dtype)
    initial = F.linear(support, weight, bias)  # [T, n, N]
    gram = 1 + support @ support.transpose(1, 2)
    a = torch.zeros_like(initial)
    for _ in range(steps):
        a = a - lr / support.shape[1] * ((initial + gram @ a).softmax(-1) - target)
    if first_order:
        a = a.detach()
    return F.linear(query, start, bias_start) + (1 + query @ support.transpose(1, 2)) @ a


def _descend(head: _GramHead, labels: Tensor, seed: Tensor, sgd: HeadSGD) -> None:
    """Run the recipe on the parameters of `head`, in place."""
    target = F.one_hot(labels, head.parameters[1].shape[1]).to(head.gram.dtype).transpose(1, 2)
    momenta: list[Tensor] = []
    for batch in sgd.batches(seed, labels.shape[1]):
        gradients = head.gradients(batch, target)
        for gradient, parameter in zip(gradients, head.parameters, strict=True):
            gradient.add_(parameter, alpha=sgd.weight_decay)
        if not momenta:
            momenta = gradients
        else:
            for momentum, gradient in zip(momenta, gradients, strict=True):
                momentum.mul_(sgd.momentum).add_(gradient, alpha=1 - sgd.dampening)
        for parameter, momentum in zip(head.parameters, momenta, strict=True):
            parameter.add_(momentum, alpha=-sgd.lr)


class _GramHead:
    """The rows of T heads by their coefficients a [T, N, n] and c [T, N]; a norm or a bias [T, N] may come third."""

    def __init__(self, z: Tensor, start: Tensor, scale: float, third: Tensor | None) -> None:
        self.gram = z @ z.transpose(1, 2)  # [T, n, n] <z_i, z_k>
        self.cross = start @ z.transpose(1, 2)  # [T, N, n] <w_j(0), z_i>
        self.square = start.square().sum(-1)  # [T, N] |w_j(0)|^2
        self.scale = scale
        self.parameters = [torch.zeros_like(self.cross), torch.ones_like(self.square)]
        if third is not None:
            self.parameters.append(third.clone())

    def weight(self, start: Tensor, z: Tensor) -> Tensor:
        """The rows themselves, [T, N, d]."""
        a, c = self.parameters[:2]
        return c[..., None] * start + a @ z

    def gradients(self, batch: Tensor, target: Tensor) -> list[Tensor]:
        """Gradients of the loss on the supports `batch` [T, b] by each parameter; `target` [T, N, n] is one-hot."""
        raise NotImplementedError

    def columns(self, batch: Tensor) -> Tensor:
        """The index with which `gather` takes the batch's columns of a [T, N, n] tensor."""
        return batch[:, None].expand(-1, self.cross.shape[1], -1)


class _CosineHead(_GramHead):
    """Logits scale * norm_j * cos(z, w_j); the norm is 1 unless it is learned."""

    def __init__(self, z: Tensor, start: Tensor, scale: float, learn_norm: bool) -> None:
        super().__init__(z, start, scale, start.norm(dim=-1) if learn_norm else None)

    def gradients(self, batch: Tensor, target: Tensor) -> list[Tensor]:
        """Gradients by a, by c, and by the norm where it is learned."""
        a, c, *norm = self.parameters
        from_supports = a @ self.gram
        dots = from_supports + c[..., None] * self.cross  # [T, N, n] <w_j, z_i>
        mixed = (a * self.cross).sum(-1)
        length2 = (a * from_supports).sum(-1) + 2 * c * mixed + c.square() * self.square
        columns = self.columns(batch)
        cosine = dots.gather(2, columns) * length2.rsqrt()[..., None]
        factor = self.scale * norm[0] if norm else torch.full_like(c, self.scale)
        error = ((factor[..., None] * cosine).softmax(1) - target.gather(2, columns)) / batch.shape[1]
        error_cosine = (error * cosine).sum(-1)
        along_row = -factor * error_cosine / length2
        by_a = along_row[..., None] * a
        by_a.scatter_add_(2, columns, error * (factor * length2.rsqrt())[..., None])
        return [by_a, along_row * c, *([self.scale * error_cosine] if norm else [])]


class _LinearHead(_GramHead):
    """Logits scale * <z, w_j> + b_j."""

    def gradients(self, batch: Tensor, target: Tensor) -> list[Tensor]:
        """Gradients by a, by c (zero: the loss only adds supports to a row), and by the bias where there is one."""
        a, c, *bias = self.parameters
        columns = self.columns(batch)
        dots = (a @ self.gram + c[..., None] * self.cross).gather(2, columns)
        logits = self.scale * dots + (bias[0][..., None] if bias else 0)
        error = (logits.softmax(1) - target.gather(2, columns)) / batch.shape[1]
        by_a = torch.zeros_like(a).scatter_add_(2, columns, self.scale * error)
        return [by_a, torch.zeros_like(c), *([error.sum(-1)] if bias else [])]
