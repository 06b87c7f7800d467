"""The structured fully connected layer of DeepEMD (its section 3.4): class nodes fine-tuned to classify the supports.

All tasks take their steps together. The gradient is written out: the loss sees a class's nodes c through <unit, c>,
sum(c) and |c|^2 alone, its slope towards the cosines is the optimal flow and towards the weights the duals, and one
matrix product brings all of it to the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from core.errors import UserError
from core.ops.adapt import HeadSGD
from core.ops.transport import Solver, emd
from core.ops.transport_solvers import in_parts, most_pivots, refuse_unsolved, simplex

LEAST_WEIGHT = 1e-3  # added to every node's weight
TINY = 1e-12  # least squared length of a node


@dataclass(frozen=True)
class StructuredLayer:
    """Gradient steps on class nodes for the cross-entropy of the logits temperature * (1 - EMD / n).

    T tasks, N classes of R nodes each, mini-batches of b supports of P nodes.
    """

    sgd: HeadSGD
    temperature: float
    solve: Solver
    weight_grad: bool  # whether the gradient goes through the nodes' weights too
    centred: bool  # whether cosines are those of deviations from a node's mean over channels
    smoothing: Tensor | None = None  # [R, R], B B^T where nodes are B times what is learned; None = learned themselves

    @torch.no_grad()
    def fine_tuned(self, classes: Tensor, support: Tensor, labels: Tensor, seed: Tensor) -> Tensor:
        """Classes [T, N, R, C] after SGD on supports [T, n, P, C] with labels [T, n].

        The seeds [T] decide the order of the mini-batches. The network simplex on a CPU has its own compiled steps,
        several times as fast; everything else goes through PyTorch, all tasks together.
        """
        nodes, batches = _Nodes.of(support, self.centred), self.sgd.batches(seed, support.shape[1])
        compiled = self.solve is simplex and self.smoothing is None and classes.device.type == "cpu" and batches
        descend = self._by_compiled if compiled else self._by_torch
        return descend(classes.flatten(1, 2).clone(), nodes, labels, batches, classes.shape[1]).view_as(classes)

    def _by_torch(self, classes: Tensor, support: _Nodes, labels: Tensor, batches: list[Tensor], way: int) -> Tensor:
        """All tasks together, with any solver on any device."""
        momentum, episode = None, torch.arange(len(classes), device=classes.device)[:, None]
        for batch in batches:
            targets = F.one_hot(labels.gather(1, batch), way)
            share = 1.0 if momentum is None else 1 - self.sgd.dampening
            gradient = self._gradient(classes, support.at(episode, batch), targets, share)
            momentum = gradient if momentum is None else gradient.add_(momentum, alpha=self.sgd.momentum)
            classes.sub_(momentum, alpha=self.sgd.lr)
        return classes

    def _by_compiled(self, classes: Tensor, support: _Nodes, labels: Tensor, batches: list[Tensor], way: int) -> Tensor:
        """One task after another in compiled code, which knows the network simplex alone."""
        from core.ops.structured_compiled import Head, Rates, descend

        number = classes.numpy().dtype.type
        sgd, most = self.sgd, most_pivots(support.unit.shape[2], classes.shape[1] // way)
        rates = Rates(*map(number, (sgd.lr, sgd.momentum, 1 - sgd.dampening, sgd.weight_decay)))
        head = Head(way, self.temperature, self.weight_grad, self.centred, LEAST_WEIGHT, TINY, most)
        tensors = (classes, support.unit, support.length, support.mean, labels, torch.cat(batches, 1))
        arrays = [x.contiguous().numpy() for x in tensors]
        ends = np.cumsum([0, *(batch.shape[1] for batch in batches)])
        with threadpool_limits(1, "blas"):  # the tasks are shared out, not the small products
            failed = in_parts(lambda part: descend(*(x[part] for x in arrays), ends, rates, head), len(classes), 1)
        if min(failed) < 0:
            raise UserError(
                f"METHOD.ARGS.sfc_lr is {sgd.lr}, and the fine-tuning of class nodes met numbers that are not finite; "
                "lower it, or lower STAGE.*.OPTIM.LR if the features have diverged."
            )
        if sum(failed):
            refuse_unsolved(sum(failed), arrays[-1].size * way, most)
        return classes

    def _gradient(self, classes: Tensor, support: _Nodes, targets: Tensor, share: float) -> Tensor:
        """`share` of the gradient of each task's mean cross-entropy by its classes, both [T, N R, C].

        `targets` [T, b, N] are one-hot.
        """
        length, mean = support.length[:, None, None], support.mean[:, None, None]  # [T, 1, 1, b, P]
        way, positions = targets.shape[2], length.shape[4]
        products = (classes @ support.unit.transpose(1, 2)).unflatten(2, length.shape[3:]).unflatten(1, (way, -1))
        sums, squares = (
            x.view(*products.shape[:3], 1, 1) for x in (classes.sum(2), torch.linalg.vecdot(classes, classes))
        )
        variance = squares - sums.square() / classes.shape[2] if self.centred else squares
        inverse = variance.clamp(min=TINY).rsqrt()
        cosines, own_mean = products * inverse, mean.mean(4)
        of_class = (products * length).mean(4) + own_mean * sums[..., 0]
        of_support = products.mean(2) * length[:, 0] + mean[:, 0] * sums.mean(2)
        by_cosine, by_class, by_support = self._slopes(cosines, of_class, of_support, targets, share)
        by_class, by_support = by_class / positions, by_support / products.shape[2]
        by_square = torch.where(variance > TINY, inverse.square() / -2, 0) * (by_cosine * cosines).sum((3, 4), True)
        by_sum = positions * (by_class * own_mean).sum(3) + (by_support * mean[:, 0]).sum((2, 3))[..., None]
        if self.centred:
            by_sum = by_sum - 2 / classes.shape[2] * (by_square * sums)[..., 0, 0]
        by_product = by_cosine * inverse + (by_class[..., None] + by_support[:, :, None]) * length
        gradient = by_product.flatten(3).flatten(1, 2) @ support.unit
        gradient.addcmul_(by_square.flatten(1)[..., None], classes, value=2).add_(by_sum.flatten(1)[..., None])
        if self.smoothing is not None:
            gradient = (self.smoothing.to(gradient) @ gradient.unflatten(1, (way, -1))).flatten(1, 2)
        return gradient.add_(classes, alpha=share * self.sgd.weight_decay) if self.sgd.weight_decay else gradient

    def _slopes(
        self, cosines: Tensor, of_class: Tensor, of_support: Tensor, targets: Tensor, share: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of the loss, times `share`, by cosines [T, N, R, b, P] and by both sides' <node, mean of the others>.

        These are [T, N, R, b] and [T, N, b, P].
        """
        nodes = cosines.shape[2]
        inner = (of_support, of_class.transpose(2, 3))
        weights = [x.relu() + LEAST_WEIGHT for x in inner]
        scales = [nodes / w.sum(-1, keepdim=True) for w in weights]
        scaled = [w * scale for w, scale in zip(weights, scales, strict=True)]
        value, flow, *duals = emd(1 - cosines.permute(0, 1, 3, 4, 2), *scaled, self.solve)
        logits = self.temperature * (1 - value / nodes)  # [T, N, b]
        error = logits.softmax(1) - targets.transpose(1, 2)
        error *= share * self.temperature / (nodes * targets.shape[1])
        by_cosine = (error[..., None, None] * flow).permute(0, 1, 4, 2, 3)
        if not self.weight_grad:
            return by_cosine, torch.zeros_like(of_class), torch.zeros_like(of_support)
        by_support, by_class = (
            (dual - (dual * w).sum(-1, keepdim=True) / nodes) * (-error[..., None] * scale) * (x > 0)
            for dual, w, scale, x in zip(duals, scaled, scales, inner, strict=True)
        )
        return by_cosine, by_class.transpose(2, 3), by_support


@dataclass(frozen=True)
class _Nodes:
    """Nodes of images as length * unit + mean, with unit vectors; the mean over channels is 0 if not centred."""

    unit: Tensor  # [T, n, P, C], or those of all images in a row [T, n P, C]
    length: Tensor  # [T, n, P]
    mean: Tensor  # [T, n, P]

    @classmethod
    def of(cls, nodes: Tensor, centred: bool) -> _Nodes:
        """Take nodes apart."""
        nodes = nodes.contiguous()
        mean = nodes.mean(-1) if centred else nodes.new_zeros(nodes.shape[:-1])
        moved = nodes - mean[..., None]
        length = moved.square().sum(-1).clamp(min=TINY).sqrt()
        return cls(moved / length[..., None], length, mean)

    def at(self, episode: Tensor, number: Tensor) -> _Nodes:
        """Images `number` [T, b] of each episode [T, 1]."""
        unit = self.unit[episode, number].flatten(1, 2)
        return _Nodes(unit, self.length[episode, number], self.mean[episode, number])
