"""PT-MAP: Hu, Gripon and Pateux, "Leveraging the Feature Distribution in Transfer-based Few-Shot Learning".

ICANN 2021, https://arxiv.org/abs/2006.03806
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..limits import NonNegative, Positive, ZeroOrMore
from ..ops.sinkhorn import balanced
from ..ops.span import Span
from ..registry import METHODS
from .transductive import TransductiveHead

LEAST = 1e-6  # added to a feature before its power is taken
SMALLEST = 1e-300  # share whose logarithm is taken


@METHODS.register("PT-MAP")
class PTMAP(TransductiveHead):
    """Class centres and an assignment of the queries with as many in each class, in turns.

    The balance is built in: where queries are unbalanced, the method loses more than others do.

    Args:
        power: features x become (x + 1e-6)^power, which makes their distribution less skewed. They must not be
            negative, unless it is 1.
        sharpness: lambda, multiplies the squared distances in the assignment.
        rate: alpha, the share of the way from a centre to its members' mean that a step moves it.
        steps: of the centres.

    Differs from the authors' code: Sinkhorn's algorithm is taken to its limit in each task, where theirs stops all
    tasks together once no row moves by more than 1e-6, or after 1000 steps; centres are kept as combinations of a
    task's vectors, in place of the reduction by QR, which changes no distance.
    """

    test_arguments = ("power", "sharpness", "rate", "steps")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        power: Positive = 0.5,
        sharpness: Positive = 10.0,
        rate: NonNegative = 0.2,
        steps: ZeroOrMore = 20,
    ) -> None:
        super().__init__(backbone, info, norm="UN")
        self.power, self.sharpness, self.rate, self.steps = power, sharpness, rate, steps

    def classify(self, support: Tensor, query: Tensor, task: Task) -> Tensor:
        """Logarithm of the last assignment."""
        support, query = self._centred(support), self._centred(query)
        span, split = Span.of(support, query)[0].double(), support.shape[1]
        target = F.one_hot(task.support_y, task.way).double().transpose(1, 2)  # [T, N, n_s]
        rows = F.pad(target / target.sum(2, keepdim=True), (0, query.shape[1]))  # centres, [T, N, n_s + Q]
        columns, potential = rows.new_full(rows.shape[:2], query.shape[1] / task.way), None
        for step in range(self.steps + 1):
            logits = -self.sharpness * span.squared_to_all(rows)[:, :, split:]
            assignment = balanced(logits, columns, potential)
            potential = assignment.potential
            if step < self.steps:
                members = torch.cat([target, assignment.shares], dim=2)
                rows = rows.lerp(members / members.sum(2, keepdim=True), self.rate)
        return assignment.shares.clamp(min=SMALLEST).log().transpose(1, 2).to(query.dtype)

    def _centred(self, vectors: Tensor) -> Tensor:
        """Powers of vectors [T, n, d], of length 1, less their mean, of length 1."""
        if self.power != 1:
            if vectors.amin() < 0:
                raise UserError(
                    f"PT-MAP takes the power METHOD.ARGS.power {self.power:g} of features, but some are negative; set "
                    "it to 1, or choose a backbone that ends in a ReLU."
                )
            vectors = (vectors + LEAST).pow_(self.power)  # in place: a copy costs as much as the power
        unit = F.normalize(vectors, dim=-1)
        return F.normalize(unit.sub_(unit.mean(1, keepdim=True)), dim=-1)
