"""FRN: Wertheimer, Tang and Hariharan, "Few-Shot Classification with Feature Map Reconstruction Networks", CVPR 2021.

https://arxiv.org/abs/2012.01506
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Task
from ..limits import NonNegative
from ..objectives.loss import Loss
from ..ops.groups import stacked_by_class
from ..ops.local_descriptors import descriptors
from ..ops.ridge import reconstruction_error
from ..registry import METHODS
from .base import Method, load_matching

LEAST_SQUARE = 1e-24  # of the norm that supports are divided by


@METHODS.register("FRN")
class FRN(Method):
    """A query belongs to the class whose support descriptors reconstruct its own by ridge regression.

    With r descriptors an image and S [K r, d] those of a class, Q' = rho Q S^T (S S^T + lambda I)^-1 S (eq. 8, and
    eq. 10 where d < K r), lambda = K r / d * e^alpha + 1e-6, rho = e^beta; logits -gamma * mean over positions of
    |Q - Q'|^2. alpha, beta and gamma are learned.

    On batches this is the authors' pretraining: each base class has a learned matrix [r, d] in place of supports, and
    alpha and beta are not trained. A stage of FRN after such a one takes over everything. One model, trained at
    5 shots, serves both shots.

    Args:
        shrink: divide features by sqrt(d), as the authors do for ResNet-12.
        aux_weight: of the sum over pairs of classes i < j of |S_i S_j^T|^2, with supports whose norm over the task is
            1. The weight 0.03 belongs to this form, which the authors' code has had since July 2021.

    Differs from the paper: the supports in the auxiliary term are normalised together, as in the authors' code, not row
    by row.

    miniImageNet, ResNet-12, 5-way: 66.45 +- 0.19 at 1 shot, 82.83 +- 0.13 at 5 shots.
    """

    needs = ("map",)
    streams = ("episodes", "batches")

    def __init__(
        self, backbone: Backbone, info: DataInfo, *, shrink: bool = False, aux_weight: NonNegative = 0.03
    ) -> None:
        super().__init__(backbone, info)
        self.aux_weight = aux_weight
        self.divisor = math.sqrt(backbone.channels) if shrink else 1.0
        self.alpha, self.beta, self.gamma = (nn.Parameter(torch.tensor(start)) for start in (0.0, 0.0, 1.0))
        self.categories = nn.Parameter(torch.randn(info.n_base, backbone.map_size**2, backbone.channels))

    @property
    def scale(self) -> Tensor:
        """gamma."""
        return self.gamma

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        rows, shots = self._rows(task)
        positions, width = self.categories.shape[1:]
        penalty = shots.double() * positions / width * self.alpha.exp() + 1e-6
        query = self._descriptors(task.query["map"])
        return -self.gamma * reconstruction_error(query, rows, penalty, self.beta.exp())

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base]; no gradient reaches alpha and beta."""
        n_base, positions, width = self.categories.shape
        penalty = (positions / width * self.alpha.detach().exp() + 1e-6).expand(1, n_base)
        query = self._descriptors(batch.inputs["map"])[None]
        return -self.gamma * reconstruction_error(query, self.categories[None], penalty, self.beta.detach().exp())[0]

    def loss(self, item: Task | Batch) -> Loss:
        """The objective, and the auxiliary term on episodes."""
        loss = super().loss(item)
        if isinstance(item, Batch):
            return loss
        return replace(loss, value=loss.value + self.aux_weight * self.overlap(item))

    def overlap(self, task: Task) -> Tensor:
        """Sum over i < j of |S_i S_j^T|^2, by G_i = S_i^T S_i as (|sum G_i|^2 - sum |G_i|^2) / 2; mean over tasks."""
        rows, _ = self._rows(task)
        square = rows.square().sum((1, 2, 3), keepdim=True)
        rows = rows / square.clamp(min=LEAST_SQUARE).sqrt()  # the norm of zeros would have no gradient
        grams = rows.transpose(2, 3) @ rows  # [T, N, d, d]
        return (grams.sum(1).square().sum((1, 2)) - grams.square().sum((1, 2, 3))).mean() / 2

    def start_from(self, previous: Method) -> str:
        """Take over all of an FRN, or the backbone of any other method."""
        if not isinstance(previous, FRN):
            return super().start_from(previous)
        return load_matching(self, previous.state_dict(), "the previous stage")

    def _descriptors(self, maps: Tensor) -> Tensor:
        """[..., d, h, w] to [..., h w, d]."""
        return descriptors(maps) / self.divisor

    def _rows(self, task: Task) -> tuple[Tensor, Tensor]:
        """Support descriptors of each class [T, N, K r, d] and shots [T, N]."""
        stacked, shots = stacked_by_class(self._descriptors(task.support["map"]), task)
        return stacked.flatten(2, 3), shots
