"""Classifiers that make a task's queries sure and diverse: Boudiaf et al., "Transductive Information Maximization".

NeurIPS 2020, https://arxiv.org/abs/2008.11297; with Tsallis entropies Veilleux et al., NeurIPS 2021,
https://arxiv.org/abs/2204.11181.

The logits of a vector z are -temperature/2 |z - w_n|^2, and each task minimises over its class vectors w

    weights.cross_entropy CE(supports) - weights.marginal H(mean of p over queries) + weights.conditional mean of H(p).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .distances import squared_euclidean
from .span import Span

FLOOR = 1e-12  # of masses that divide


@dataclass(frozen=True)
class Weights:
    """Of the three terms."""

    cross_entropy: float
    marginal: float
    conditional: float


@dataclass(frozen=True)
class Descent:
    """How class vectors are found by gradient descent.

    `alpha` is that of the entropies H(p) = (1 - sum p^alpha) / (alpha - 1); 1 gives Shannon's.
    """

    weights: Weights
    alpha: float = 1.0
    temperature: float = 15.0
    rate: float = 1e-4
    steps: int = 1000

    def class_vectors(self, support: Tensor, labels: Tensor, query: Tensor, start: Tensor) -> Tensor:
        """Class vectors [T, N, d] by Adam from `start`; T tasks at once move as T tasks alone."""
        target = F.one_hot(labels, start.shape[1]).to(start).transpose(1, 2)
        vectors = torch.cat([support, query], dim=1)
        rows, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        for step in range(1, self.steps + 1):
            slope = self.slope(vectors, target, rows)
            first.lerp_(slope, 0.1)
            second.mul_(0.999).addcmul_(slope, slope, value=0.001)
            size = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
            rows.addcdiv_(first, size, value=-self.rate / (1 - 0.9**step))
        return rows

    def slope(self, vectors: Tensor, target: Tensor, rows: Tensor) -> Tensor:
        """Gradient [T, N, d] of the objective with respect to class vectors `rows`.

        Args:
            vectors: [T, n_s + Q, d], supports first.
            target: one-hot labels [T, N, n_s].
            rows: [T, N, d].
        """
        products = rows @ vectors.transpose(1, 2)  # [T, N, n_s + Q]: a faster softmax
        log_p = (self.temperature * (products - rows.square().sum(-1, keepdim=True) / 2)).log_softmax(1)
        of_supports, of_queries = log_p.split([target.shape[2], log_p.shape[2] - target.shape[2]], dim=2)
        of_logits = torch.cat([self._of_supports(of_supports, target), self._of_queries(of_queries)], dim=2)
        return self.temperature * (of_logits @ vectors - of_logits.sum(2, keepdim=True) * rows)

    def _of_supports(self, log_p: Tensor, target: Tensor) -> Tensor:
        """What the cross-entropy gives the logits [T, N, n_s] of the supports."""
        return (log_p.exp() - target) * (self.weights.cross_entropy / target.shape[2])

    def _of_queries(self, log_p: Tensor) -> Tensor:
        """What the two entropies give the logits [T, N, Q] of the queries."""
        p = log_p.exp()
        marginal = p.mean(2, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny).log()  # of an empty class, p is 0
        of_p = self.weights.conditional * self._of_entropy(log_p) - self.weights.marginal * self._of_entropy(marginal)
        return p * (of_p - (p * of_p).sum(1, keepdim=True)) / p.shape[2]

    def _of_entropy(self, log_p: Tensor) -> Tensor:
        """Gradient of H with respect to p, less a constant, which no change of logits sees."""
        if self.alpha == 1:
            return -log_p
        return -self.alpha / (self.alpha - 1) * ((self.alpha - 1) * log_p).expm1()


def alternate(
    support: Tensor, labels: Tensor, query: Tensor, way: int, weights: Weights, temperature: float, steps: int
) -> Tensor:
    """Logits [T, Q, N] by the alternating direction method, from the class means of supports [T, n_s, d].

    Each step takes the best labels q of the queries (the paper's eq. 7) and then the class vectors that fit them
    (eq. 8), which stay combinations of a task's vectors: a step costs the same for every d. Computed in float64.
    """
    span, split = Span.of(support, query)[0].double(), support.shape[1]
    target = F.one_hot(labels, way).double().transpose(1, 2)  # [T, N, n_s]
    rows = F.pad(target / target.sum(2, keepdim=True), (0, query.shape[1]))  # [T, N, n_s + Q]
    of_supports, of_queries = weights.cross_entropy / (1 + weights.conditional), split / query.shape[1]
    share = target.new_tensor([of_supports] * split + [of_queries] * query.shape[1])
    for _ in range(steps):
        log_p = (-temperature / 2 * span.squared_to_all(rows)).log_softmax(1)
        wanted = share * torch.cat([target, _best_labels(log_p[:, :, split:], weights)], dim=2)
        expected = share * log_p.exp()
        moved = wanted - expected + rows * expected.sum(2, keepdim=True)
        rows = moved / wanted.sum(2, keepdim=True).clamp(min=FLOOR)
    logits = -temperature / 2 * span.squared_to_all(rows)[:, :, split:]
    return logits.transpose(1, 2).to(query.dtype)


def _best_labels(log_p: Tensor, weights: Weights) -> Tensor:
    """q [T, N, Q] of the queries for probabilities p: sharper, and less for classes with many queries."""
    sharp = (1 + weights.conditional) * log_p
    share = weights.marginal / (weights.marginal + 1)
    return (sharp - share * sharp.exp().sum(2, keepdim=True).clamp(min=FLOOR).log()).softmax(1)


def logits_of(query: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Logits [T, Q, N] of queries [T, Q, d] for class vectors [T, N, d]."""
    return -temperature / 2 * squared_euclidean(query, rows)
