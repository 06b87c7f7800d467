"""MetaOptNet: Lee, Maji, Ravichandran and Soatto, "Meta-Learning with Differentiable Convex Optimization", CVPR 2019.

https://arxiv.org/abs/1904.03758
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..ops.adapt import Head
from ..ops.closed_form import fit_ridge
from ..registry import METHODS
from .base import Method
from .r2d2 import positive


class MetaOptNet(Method):
    """Logits scale * W q, with the head W that a convex problem on the supports has as its minimum.

    Features are taken as they are, flattened in the authors' networks: neither normalised nor averaged.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, scale: float = 1.0) -> None:
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

    def __init__(self, backbone: Backbone, info: DataInfo, *, penalty: float = 50.0, scale: float = 1.0) -> None:
        super().__init__(backbone, info, scale=scale)
        self.penalty = positive("penalty", penalty)

    def fit(self, support: Tensor, labels: Tensor, way: int) -> Head:
        """The heads of supports [T, n, d] with labels [T, n]."""
        return fit_ridge(support, 2 * F.one_hot(labels, way), self.penalty)
