"""The structured fully connected layer of DeepEMD (section 3.4): class nodes fine-tuned to classify the supports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor

from ...errors import UserError
from ..adapt import HeadSGD
from .distance import emd_logits
from .node_similarity import LEAST_LENGTH, LEAST_WEIGHT, node_similarity
from .solvers import Solver, in_parts, most_pivots, refuse_unsolved, simplex


@dataclass(frozen=True)
class StructuredLayer:
    """Gradient steps on class nodes for the cross-entropy of the logits temperature * (1 - EMD / n).

    With the network simplex on a CPU the steps are compiled (`structured_layer_compiled`), several times as fast. With
    any other solver or device they run in PyTorch, all tasks together.
    """

    sgd: HeadSGD
    temperature: float | Tensor
    solve: Solver
    weight_grad: bool  # whether the gradient goes through the nodes' weights too
    centred: bool  # see `node_similarity`
    pooling: Tensor | None = None  # [R, M], nodes = pooling @ learned vectors; None = the nodes themselves are learned

    @torch.no_grad()
    def fine_tuned(self, classes: Tensor, support: Tensor, labels: Tensor, seed: Tensor) -> Tensor:
        """Class nodes [T, N, R, C] after SGD.

        Args:
            classes: [T, N, M, C], where the learned vectors start: nodes, or what `pooling` makes nodes of.
            support: [T, n, P, C] nodes.
            labels: [T, n].
            seed: [T], decides the order of the mini-batches.

        Raises:
            UserError: where a number is no longer finite, or a transportation problem is not solved.
        """
        batches = self.sgd.batches(seed, support.shape[1])
        compiled = self.solve is simplex and classes.device.type == "cpu" and bool(batches)
        descend = self._compiled if compiled else self._all_together
        return descend(classes, support, labels, batches)

    def _nodes(self, learned: Tensor) -> Tensor:
        return learned if self.pooling is None else self.pooling.to(learned) @ learned

    @torch.enable_grad()
    def _all_together(self, classes: Tensor, support: Tensor, labels: Tensor, batches: list[Tensor]) -> Tensor:
        """Every step for all tasks at once, with any solver on any device."""
        sgd, episode = self.sgd, torch.arange(len(labels), device=labels.device)[:, None]
        learned = classes.clone().requires_grad_()
        optimizer = torch.optim.SGD([learned], sgd.lr, sgd.momentum, sgd.dampening, weight_decay=sgd.weight_decay)
        for batch in batches:
            similarity, weights = node_similarity(support[episode, batch], self._nodes(learned), self.centred)
            logits = emd_logits(similarity, weights, self.temperature, self.solve, self.weight_grad)
            targets = labels.gather(1, batch).flatten()
            loss = F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum") / batch.shape[1]  # of each task
            (learned.grad,) = torch.autograd.grad(loss, learned)
            optimizer.step()
        return self._nodes(learned).detach()

    def _compiled(self, classes: Tensor, support: Tensor, labels: Tensor, batches: list[Tensor]) -> Tensor:
        """One task after another in each thread."""
        from .structured_layer_compiled import Head, Rates, descend

        nodes = self._nodes(classes).flatten(1, 2).clone()
        arrays = [x.contiguous().numpy() for x in (nodes, *self._parts(support), labels)]
        order, ends = torch.cat(batches, 1).numpy(), np.cumsum([0, *(batch.shape[1] for batch in batches)])
        pooling = nodes.new_empty(0, 0) if self.pooling is None else self.pooling.to(nodes)
        smoothing = (pooling @ pooling.T).numpy()
        sgd, number, way = self.sgd, arrays[0].dtype.type, classes.shape[1]
        most = most_pivots(support.shape[2], nodes.shape[1] // way)
        rates = Rates(*map(number, (sgd.lr, sgd.momentum, 1 - sgd.dampening, sgd.weight_decay)))
        head = Head(way, float(self.temperature), self.weight_grad, self.centred, LEAST_WEIGHT, LEAST_LENGTH**2, most)

        def fine_tune(part: slice) -> int:
            return descend(*(x[part] for x in arrays), order[part], ends, smoothing, rates, head)

        with threadpool_limits(1, "blas"):  # a task's products are too small to be shared among threads as well
            unsolved = in_parts(fine_tune, len(classes), 1)
        if min(unsolved) < 0:
            raise UserError(
                f"METHOD.ARGS.sfc_lr is {sgd.lr}, and the fine-tuning of class nodes met numbers that are not finite; "
                "lower it, or lower STAGE.*.OPTIM.LR if the features have diverged."
            )
        if sum(unsolved):
            refuse_unsolved(sum(unsolved), order.size * way, most)
        return torch.from_numpy(arrays[0]).unflatten(1, (way, -1))

    def _parts(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors, lengths and channel means with nodes = length * unit + mean; the mean is 0 if not centred."""
        mean = nodes.mean(-1) if self.centred else nodes.new_zeros(nodes.shape[:-1])
        direction = nodes - mean[..., None]
        length = torch.linalg.vector_norm(direction, dim=-1).clamp(min=LEAST_LENGTH)
        return direction / length[..., None], length, mean
