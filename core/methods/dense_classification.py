"""Dense classification: Lifchitz et al., "Dense Classification and Implanting for Few-Shot Learning", CVPR 2019.

https://arxiv.org/abs/1903.05050
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Task
from ..layers.classifiers import CosineClassifier
from ..limits import Positive
from ..objectives.loss import Loss
from ..ops.groups import mean_by_class
from ..ops.local_descriptors import descriptors
from ..registry import METHODS
from .base_training import BaseTrained

Ends = Literal["dense", "pooled"]


@METHODS.register("DC")
class DC(BaseTrained):
    """A cosine classifier of every position of the map, on base images; at test the nearest class mean.

    Training: logits scale * cos(f_r, w_n) at each position r, and the mean of the losses of the positions. Test: w_n is
    the mean of f_r over positions and supports, and a query's logits are the means of its positions'. Their mean over
    r is <mean_r u(f_r), u(w_n)> with u for length 1, so that there is no loop over positions.

    Args:
        training: dense, or pooled: the classifier then sees the mean of the positions.
        test: the same of the queries.
        scale: where the learned scale starts.

    The authors released no code, and these are the standard equations of a dense cosine classifier. So no published
    number is claimed, and the paper's implants, neurons that are added to the frozen network for a task, are left out.
    """

    classifier: CosineClassifier
    needs = ("map",)
    cosine_logits = True
    test_arguments = ("test",)

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        training: Ends = "dense",
        test: Ends = "dense",
        scale: Positive = 10.0,
    ) -> None:
        super().__init__(backbone, info, CosineClassifier(backbone.channels, info.n_base, 1.0))
        self.scale = nn.Parameter(torch.tensor(scale))
        self.dense_training, self.dense_test = training == "dense", test == "dense"

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        means = mean_by_class(task.support["map"].mean((-2, -1)), task)
        return self.scale * _view(task.query["map"], self.dense_test) @ F.normalize(means, dim=-1).transpose(1, 2)

    def base_logits(self, task: Task) -> Tensor:
        """The classifier's logits, [T, Q, n_base]."""
        return self.scale * _view(task.query["map"], self.dense_test) @ F.normalize(self.classifier.weight, dim=-1).T

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base], the mean of those of the positions."""
        view = _view(batch.inputs["map"], self.dense_training)
        return self.scale * view @ F.normalize(self.classifier.weight, dim=-1).T

    def loss(self, item: Task | Batch) -> Loss:
        """The objective at every position; answers are counted once for each image."""
        if not isinstance(item, Batch) or not self.dense_training:
            return super().loss(item)
        each = self.scale * self.classifier(descriptors(item.inputs["map"]))  # [n, h w, n_base]
        loss = self.judge(each, item.labels[:, None].expand(each.shape[:2]), item)
        return replace(loss, logits=each.mean(1), y=item.labels)


def _view(maps: Tensor, dense: bool) -> Tensor:
    """What scores of classes are linear in: the mean of the positions at length 1, or their mean at length 1."""
    if dense:
        return F.normalize(maps, dim=-3).mean((-2, -1))
    return F.normalize(maps.mean((-2, -1)), dim=-1)
