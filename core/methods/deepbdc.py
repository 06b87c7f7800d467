"""DeepBDC: Xie, Long, Lv, Wang and Li, "Joint Distribution Matters: Deep Brownian Distance Covariance for Few-Shot
Classification", CVPR 2022. https://arxiv.org/abs/2204.04567
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone, ConvBN
from ..episode import Batch, DataInfo, Features, Task
from ..errors import UserError
from ..limits import NonNegative, Positive, ShareBelowOne, ZeroOrMore
from ..ops.bdc import bdc_vectors
from ..ops.distances import squared_euclidean
from ..ops.groups import mean_by_class
from ..ops.logistic import fit_logistic
from ..registry import METHODS
from .base import Method
from .distillation import Distilled

AT_ONCE = 1 << 25  # numbers in the vectors of the tasks that are classified together


class BDCPooling(nn.Module):
    """Maps [n, C, h, w] to the upper triangles of their BDC matrices, [n, d (d + 1) / 2].

    A 1x1 convolution with batch-norm and ReLU first reduces the channels to d, unless d is 0 or C. The scale e^t of
    the squared distances is learned, from 1 / (2 h w).
    """

    def __init__(self, backbone: Backbone, reduce: int) -> None:
        super().__init__()
        channels = reduce or backbone.channels
        self.reduction: nn.Module = nn.Identity()
        if channels != backbone.channels:
            conv = ConvBN(backbone.channels, channels, 1, bias=False, norm="running")
            first = conv[0]
            assert isinstance(first, nn.Conv2d)
            nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="leaky_relu")
            self.reduction = nn.Sequential(conv, nn.ReLU(inplace=True))
        self.log_scale = nn.Parameter(torch.tensor(-math.log(2 * backbone.map_size**2)))
        self.width = channels * (channels + 1) // 2

    @property
    def reduces(self) -> bool:
        """Whether a convolution stands before the matrix."""
        return not isinstance(self.reduction, nn.Identity)

    def reduced(self, maps: Tensor) -> Tensor:
        """[..., C, h, w] to [..., d, h, w]."""
        return self.reduction(maps.flatten(0, -4)).unflatten(0, maps.shape[:-3])

    def forward(self, maps: Tensor) -> Tensor:
        """Reduced maps [..., d, h, w] to vectors [..., d (d + 1) / 2]."""
        return bdc_vectors(maps.flatten(0, -4), self.log_scale).unflatten(0, maps.shape[:-3])


@METHODS.register("STLDeepBDC")
class STLDeepBDC(Distilled):
    """A linear classifier over the base classes on BDC vectors; logistic regression on normalised ones in each episode.

    Several such stages in a row are born-again generations, see `Distilled`; the authors train three.

    Args:
        reduce: channels of the map before the matrix; 0 leaves them. 128 in the paper.
        dropout: of the vectors before the classifier, in training.
        scale_factor: t learns with so many times the learning rate of the rest; the authors' 0.001 by 0.05.
        inverse_penalty: C of the logistic regression; 0.1 at 1 shot and 2 at 5 in the paper.
        distill, temperature: of a distillation stage.

    Differs from the authors' code: Newton's method in place of L-BFGS for the logistic regression (the same minimum);
    classes of unequal shots weigh the same in it; a teacher answers in evaluation mode, where theirs drops vectors and
    takes the statistics of the batch.

    miniImageNet, ResNet-12, 5-way: 67.83 +- 0.43 at 1 shot, 85.45 +- 0.29 at 5 shots.
    """

    needs = ("map",)
    scores_base = False  # the regression of a task depends on its classes and shots
    test_arguments = ("inverse_penalty",)

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        reduce: ZeroOrMore = 0,
        dropout: ShareBelowOne = 0.5,
        scale_factor: NonNegative = 0.02,
        inverse_penalty: Positive = 0.1,
        **distillation: Any,
    ) -> None:
        pooling = BDCPooling(backbone, reduce)
        classifier = nn.Linear(pooling.width, info.n_base)
        nn.init.zeros_(classifier.bias)
        super().__init__(backbone, info, classifier, **distillation)
        self.pooling, self.dropout = pooling, nn.Dropout(dropout)
        self.scale_factor, self.inverse_penalty = scale_factor, inverse_penalty

    @property
    def encodes_by_backbone(self) -> bool:
        """Without a reduction the map is the backbone's."""
        return not self.pooling.reduces

    def encode(self, pixels: Features) -> Features:
        """Reduced maps, so that an image is cached as d h w numbers and not as d (d + 1) / 2."""
        features = super().encode(pixels)
        return features | {"map": self.pooling.reduced(features["map"])}

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base]."""
        return self.classifier(self.dropout(self.pooling(batch.inputs["map"])))

    def base_logits(self, task: Task) -> Tensor:
        """The classifier's logits, [T, Q, n_base]."""
        parts = _parts(task, self.pooling.width)
        return torch.cat([self.classifier(self.pooling(part.query["map"])) for part in parts])

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return torch.cat([self._regress(part) for part in _parts(task, self.pooling.width)])

    def _regress(self, task: Task) -> Tensor:
        support, query = (F.normalize(self.pooling(side["map"]), dim=-1) for side in (task.support, task.query))
        return fit_logistic(support, task.support_y, task.way, self.inverse_penalty).logits(query)

    def special_groups(self, lr: float) -> list[dict]:
        """t learns at `scale_factor` times the rate of the rest."""
        return [{"params": [self.pooling.log_scale], "lr": self.scale_factor * lr}]


@METHODS.register("MetaDeepBDC")
class MetaDeepBDC(Method):
    """BDC vectors against their class means: the inner product at 1 shot, -|.|^2 at more.

    The stage before it trains a classifier on BDC vectors (METHOD: STLDeepBDC with the same `reduce`) and passes on the
    backbone, the reduction and t.

    Args:
        reduce: channels of the map before the matrix; 0 leaves them. 640, as many as ResNet-12 has, for miniImageNet.

    Differs from the authors' code: the first stage is validated with logistic regression, not with this metric.

    miniImageNet, ResNet-12, 5-way: 67.34 +- 0.43 at 1 shot, 84.46 +- 0.28 at 5 shots.
    """

    needs = ("map",)

    def __init__(self, backbone: Backbone, info: DataInfo, *, reduce: ZeroOrMore = 0) -> None:
        super().__init__(backbone, info)
        self.pooling = BDCPooling(backbone, reduce)

    @property
    def encodes_by_backbone(self) -> bool:
        """Without a reduction the map is the backbone's."""
        return not self.pooling.reduces

    def encode(self, pixels: Features) -> Features:
        """Reduced maps."""
        return {"map": self.pooling.reduced(super().encode(pixels)["map"])}

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        parts = _parts(task, self.pooling.width)
        return torch.cat(
            [self._compare(part, mean_by_class(self.pooling(part.support["map"]), part)) for part in parts]
        )

    def base_logits(self, task: Task) -> Tensor:
        """Logits [T, Q, n_base] of the vectors of the base classes' mean maps, by the metric of the task's shots."""
        assert task.base is not None, "the evaluator gives the base means"
        means = self.pooling(task.base["map"])
        parts = _parts(task, self.pooling.width)
        return torch.cat([self._compare(part, means.expand(part.tasks, *means.shape)) for part in parts])

    def _compare(self, task: Task, means: Tensor) -> Tensor:
        """Queries against class vectors [T, N, D]."""
        query = self.pooling(task.query["map"])
        one_shot = task.support_y.shape[1] == task.way
        return query @ means.transpose(1, 2) if one_shot else -squared_euclidean(query, means)

    def start_from(self, previous: Method) -> str:
        """Take the backbone, and the pooling where the previous stage has one of the same width."""
        line = super().start_from(previous)
        if not isinstance(previous, STLDeepBDC):
            return line
        if previous.pooling.width != self.pooling.width:
            raise UserError(
                f"METHOD.ARGS.reduce makes vectors of {self.pooling.width} numbers, but the stage before makes "
                f"{previous.pooling.width}; set its ARGS.reduce to the same."
            )
        self.pooling.load_state_dict(previous.pooling.state_dict())
        return f"{line}; and its pooling"


def _parts(task: Task, width: int) -> list[Task]:
    """Split a task into parts of fewer episodes, so that their vectors of `width` numbers fit into bounded memory."""
    images = task.support_y.shape[1] + task.query["map"].shape[1]
    at_once = max(1, AT_ONCE // (images * width))
    return [part for part, _ in task.parts(-(-task.tasks // at_once))]
