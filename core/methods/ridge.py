"""Ridge regression on the features of a frozen network: big_vision's few-shot probe, as `fewshot_lsr` computes it.

https://github.com/google-research/big_vision
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Positive
from ..ops.ridge_grid import fit_ridge_grid
from ..registry import METHODS
from .base_training import BaseTrained


@METHODS.register("Ridge")
class Ridge(BaseTrained):
    """A linear classifier over the base classes; in each episode least squares with an L2 penalty.

    One-hot labels are regressed on features of length 1, with an intercept that is not penalised. Each episode chooses
    its penalty from a grid by the squared error of leave-one-out, which the fit gives without fitting again.

    Args:
        penalties: that an episode chooses from; empty = `penalty`.
        penalty: where a class has one support, so that none can be left out.
        scale: multiplies the regression's answers, which lie about 0 and 1, to make logits of them.

    Differs from the authors' code: they standardise each feature over the supports, which at 1 shot are N numbers, and
    ship one penalty, 1024; features of length 1 need no such estimate. They choose among penalties by a validation set.
    """

    scores_base = False  # see R2D2
    test_arguments = ("penalties", "penalty", "scale")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        penalties: Sequence[Positive] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
        penalty: Positive = 1.0,
        scale: Positive = 10.0,
    ) -> None:
        super().__init__(backbone, info, nn.Linear(backbone.vector_dim, info.n_base))
        self.penalties, self.penalty, self.scale = list(penalties), penalty, scale

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        support, query = (F.normalize(part["vector"], dim=-1) for part in (task.support, task.query))
        head = fit_ridge_grid(support, task.support_y, task.way, self.penalties, self.penalty)
        return self.scale * head.logits(query)
