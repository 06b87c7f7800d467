"""R2D2 and LR-D2: Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with differentiable closed-form solvers",
ICLR 2019. https://arxiv.org/abs/1805.08136
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Count, Positive
from ..ops.closed_form import fit_reweighted, fit_ridge
from ..registry import METHODS
from .base import Method


@METHODS.register("R2D2")
class R2D2(Method):
    """Ridge regression of the one-hot labels on the supports, a ridge classifier for each task.

    With X_a = [X, 1] for n supports X [n, d]: w = X_a^T (X_a X_a^T + n lambda I)^-1 Y. The authors' code divides X_a
    and Y by sqrt(n), which is the factor n here. So their recipe has a penalty of 50 n, and the bias is penalised
    too. Logits are alpha * [q, 1] w with a learned alpha.

    Args:
        penalty: lambda, which the released recipe does not learn.
        scale: where alpha starts; 1e-4 for miniImageNet and 10 for CIFAR-FS.

    Differs from the authors' code: no offset of the logits. It is one number for all classes, without a gradient.

    CIFAR-FS, WideConv4, 5-way: 65.3 +- 0.2 at 1 shot, 79.4 +- 0.1 at 5 shots.
    """

    scores_base = False  # what a regression gives depends on how many classes it tells apart

    def __init__(self, backbone: Backbone, info: DataInfo, *, penalty: Positive = 50.0, scale: Positive = 10.0) -> None:
        super().__init__(backbone, info)
        self.penalty = penalty
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        support = task.support["vector"]
        target = F.one_hot(task.support_y, task.way)
        head = fit_ridge(support, target, self.penalty * support.shape[1], bias=True)
        return self.scale * head.logits(task.query["vector"])


@METHODS.register("LR-D2")
class LRD2(Method):
    """Logistic regression of each class against the others, by a few steps of Newton's method from zero.

    Each of the N problems takes the K supports of its class for 1 and all others for 0; the N scores are the logits.
    The bias is penalised.

    Args:
        penalty: lambda of the ridge regression in each step.
        iterations: Newton's steps; the released recipes have 1 and 5.
    """

    scores_base = False  # see R2D2

    def __init__(self, backbone: Backbone, info: DataInfo, *, penalty: Positive = 50.0, iterations: Count = 5) -> None:
        super().__init__(backbone, info)
        self.penalty, self.iterations = penalty, iterations

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        head = fit_reweighted(task.support["vector"], task.support_y, task.way, self.penalty, self.iterations)
        return head.logits(task.query["vector"])
