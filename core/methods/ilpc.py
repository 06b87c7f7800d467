"""iLPC: Lazarou, Stathaki and Avrithis, "Iterative label cleaning for transductive and semi-supervised few-shot
learning", ICCV 2021.

https://arxiv.org/abs/2012.07962
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Count, Positive, ShareBelowOne, ZeroOrMore
from ..ops.label_trust import mean_losses
from ..ops.propagation import propagation
from ..ops.sinkhorn import balanced
from ..ops.span import Span
from ..registry import METHODS
from .transductive import TransductiveHead

LEAST = 1e-12  # score whose logarithm is taken, and share of a class that has all its queries


@METHODS.register("iLPC")
class ILPC(TransductiveHead):
    """Pseudo-labels by propagation and a balanced assignment; the easiest to learn become supports, in rounds.

    Args:
        neighbours: of a vector in the graph.
        power: of the cosines in the graph.
        spread: alpha, how far labels spread, 0 to below 1.
        sharpness: power of the propagated scores in the assignment.
        moved: queries of a class that become supports in a round.
        cleaning_steps: of the linear classifier whose losses say which queries these are.

    Differs from the authors' code: the linear system is solved exactly, where theirs takes 20 steps of conjugate
    gradients; the classifier's bias starts at 0, not at random; negative cosines count as 0; features are scaled to
    length 1 and not otherwise transformed.
    """

    test_arguments = ("neighbours", "power", "spread", "sharpness", "moved", "cleaning_steps")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        neighbours: Count = 20,
        power: Positive = 3.0,
        spread: ShareBelowOne = 0.8,
        sharpness: Positive = 3.0,
        moved: Count = 3,
        cleaning_steps: ZeroOrMore = 1000,
    ) -> None:
        super().__init__(backbone, info, norm="L2N")
        self.neighbours, self.power, self.spread = neighbours, power, spread
        self.sharpness, self.moved, self.cleaning_steps = sharpness, moved, cleaning_steps

    def classify(self, support: Tensor, query: Tensor, task: Task) -> Tensor:
        """Logarithm of each query's share in the classes, in the round in which it got its label."""
        span = Span.of(support, query)[0].double()
        spreading = propagation(span.gram, self.neighbours, self.power, self.spread)
        labels = F.pad(F.one_hot(task.support_y, task.way).double().transpose(1, 2), (0, query.shape[1]))
        state = _Rounds(span, spreading, labels, query.shape[1])
        while len(state.tasks):
            self._round(state)
        return state.logits.transpose(1, 2).to(query.dtype)

    def _round(self, state: _Rounds) -> None:
        """Label all queries of the tasks that are not through, and keep the labels that are easiest to learn."""
        log_p = self._assigned(state)
        guess = log_p.argmax(1)  # [T, Q]
        of_all = torch.cat([state.labels[:, :, : -guess.shape[1]].argmax(1), guess], dim=1)
        known = state.labels[:, :, -guess.shape[1] :]
        of_all[:, -guess.shape[1] :] = torch.where(state.remaining, guess, known.argmax(1))
        means = state.labels @ state.span.gram  # products of each class's sum with all vectors
        lengths = (means * state.labels).sum(2, keepdim=True).clamp(min=LEAST).sqrt()
        losses = mean_losses(state.span, of_all, state.labels / lengths, self.cleaning_steps, 0.1, 5e-4)
        chosen = self._easiest(losses[:, -guess.shape[1] :], guess, state)
        state.keep(chosen, guess, log_p)

    def _assigned(self, state: _Rounds) -> Tensor:
        """Logarithm of the shares [T, N, Q] of the remaining queries, as many of each class as are to be found."""
        scores = (state.labels @ state.spreading)[:, :, -state.remaining.shape[1] :].clamp(min=0)
        scores = scores / scores.sum(1, keepdim=True).clamp(min=LEAST)
        filled = state.labels[:, :, -state.remaining.shape[1] :].sum(2)
        columns = (state.remaining.shape[1] / filled.shape[1] - filled).clamp(min=LEAST)
        columns = columns * (state.remaining.sum(1) / columns.sum(1))[:, None]
        logits = self.sharpness * scores.clamp(min=LEAST).log()
        return balanced(logits, columns, counted=state.remaining).shares.clamp(min=LEAST).log()

    def _easiest(self, losses: Tensor, guess: Tensor, state: _Rounds) -> Tensor:
        """Which queries [T, Q] get their label for good: the easiest of each class, or all where that is too few."""
        way = state.labels.shape[1]
        of_class = F.one_hot(guess, way).transpose(1, 2).bool() & state.remaining[:, None]  # [T, N, Q]
        order = losses[:, None].masked_fill(~of_class, torch.inf).argsort(dim=2, stable=True)
        rank = order.argsort(dim=2)
        chosen = ((rank < self.moved) & of_class).any(1)
        return torch.where(chosen.sum(1, keepdim=True) < way, state.remaining, chosen)


class _Rounds:
    """The tasks that still have queries without a label."""

    def __init__(self, span: Span, spreading: Tensor, labels: Tensor, queries: int) -> None:
        self.span, self.spreading, self.labels = span, spreading, labels  # one-hot labels [T, N, n], supports first
        self.remaining = torch.ones(len(labels), queries, dtype=torch.bool, device=labels.device)
        self.logits = labels.new_zeros(len(labels), labels.shape[1], queries)
        self.tasks = torch.arange(len(labels), device=labels.device)  # their numbers

    def keep(self, chosen: Tensor, guess: Tensor, log_p: Tensor) -> None:
        """Give the chosen queries [T, Q] their labels, and drop the tasks that are through."""
        label = F.one_hot(guess, self.labels.shape[1]).to(self.labels).transpose(1, 2) * chosen[:, None]
        self.labels = torch.cat([self.labels[:, :, : -guess.shape[1]], self.labels[:, :, -guess.shape[1] :] + label], 2)
        self.logits[self.tasks] = torch.where(chosen[:, None], log_p, self.logits[self.tasks])
        self.remaining = self.remaining & ~chosen
        going = self.remaining.any(1)
        self.tasks, self.labels, self.remaining = self.tasks[going], self.labels[going], self.remaining[going]
        self.span, self.spreading = Span(self.span.gram[going]), self.spreading[going]
