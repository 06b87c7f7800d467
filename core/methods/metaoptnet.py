"""MetaOptNet: Lee, Maji, Ravichandran and Soatto, "Meta-Learning with Differentiable Convex Optimization", CVPR 2019.

https://arxiv.org/abs/1904.03758
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Positive, ZeroOrMore
from ..ops.adapt import Head
from ..ops.closed_form import fit_ridge
from ..ops.svm import fit_svm
from ..registry import METHODS
from .base import Method


class MetaOptNet(Method):
    """Logits scale * W q, with the head W that a convex problem on the supports has as its minimum.

    Features are taken as they are, flattened in the authors' networks: neither normalised nor averaged.
    """

    scores_base = False  # see R2D2

    def __init__(self, backbone: Backbone, info: DataInfo, *, scale: Positive = 1.0) -> None:
        super().__init__(backbone, info)
        self.scale = nn.Parameter(torch.tensor(scale))

    def fit(self, support: Tensor, labels: Tensor, way: int) -> Head:
        """The heads of supports [T, n, d] with labels [T, n]."""
        raise NotImplementedError

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        head = self.fit(task.support["vector"], task.support_y, task.way)
        return self.scale * head.logits(task.query["vector"])


@METHODS.register("MetaOptNet-RR")
class MetaOptNetRR(MetaOptNet):
    """Ridge regression: W = 2 Y^T (X X^T + penalty I)^-1 X, the minimum of |W|^2 + |X W^T - 2 Y|^2 / penalty.

    Args:
        penalty: 50 in the authors' code, whatever the number of supports.
        scale: where the learned scale starts.

    CIFAR-FS, ResNet-12, 5-way: 72.6 +- 0.7 at 1 shot, 84.3 +- 0.5 at 5 shots.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, penalty: Positive = 50.0, scale: Positive = 1.0) -> None:
        super().__init__(backbone, info, scale=scale)
        self.penalty = penalty

    def fit(self, support: Tensor, labels: Tensor, way: int) -> Head:
        """The heads of supports [T, n, d] with labels [T, n]."""
        return fit_ridge(support, 2 * F.one_hot(labels, way), self.penalty)


@METHODS.register("MetaOptNet-SVM")
class MetaOptNetSVM(MetaOptNet):
    """The multi-class support vector machine of Crammer and Singer, whose dual is a quadratic program (`core.ops.svm`).

    Args:
        bound: C of the program, the largest dual variable of a support; 0.1 in the authors' code.
        iterations: passes of the solver at test and in validation; 0 = until it is solved. The authors test after 3,
            which is a machine stopped early, after two Newton steps. In training every machine is solved.
        scale: where the learned scale starts.

    Differs from the authors' code: they solve the machines of the validation, too, and stop early only at test.

    CIFAR-FS, ResNet-12, 5-way: 72.0 +- 0.7 at 1 shot, 84.2 +- 0.5 at 5 shots.
    """

    test_arguments = ("iterations",)

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        bound: Positive = 0.1,
        iterations: ZeroOrMore = 0,
        scale: Positive = 1.0,
    ) -> None:
        super().__init__(backbone, info, scale=scale)
        self.bound, self.iterations = bound, iterations

    def fit(self, support: Tensor, labels: Tensor, way: int) -> Head:
        """The heads of supports [T, n, d] with labels [T, n]."""
        return fit_svm(support, labels, way, self.bound, 0 if self.training else self.iterations)
