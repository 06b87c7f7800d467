"""Baseline and Baseline++: Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019.

https://arxiv.org/abs/1904.04232
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..layers.classifiers import CosineClassifier
from ..limits import NonNegative, Positive
from ..ops.adapt import Head, HeadSGD, fit_cosine_head, fit_linear_head
from ..registry import METHODS
from .base_training import FineTuned


@METHODS.register("Baseline")
class Baseline(FineTuned):
    """A linear classifier with bias over the base classes; a linear head with bias fine-tuned in each episode.

    Args:
        head_*: the head's SGD, see `FineTuned`.

    miniImageNet, Conv4, 5-way: 42.11 +- 0.71 at 1 shot, 62.53 +- 0.69 at 5 shots.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, **head: Any) -> None:
        super().__init__(backbone, info, nn.Linear(backbone.vector_dim, info.n_base), **head)

    def fit(self, task: Task, support: Tensor, start: Tensor, sgd: HeadSGD) -> Head:
        """A linear head; its bias starts at random too, as in torch's layers."""
        bias = self.uniform(task, "bias", (task.way,), support)
        return fit_linear_head(support, task.support_y, start, task.seed, 1.0, sgd, bias)


@METHODS.register("Baseline++")
class BaselinePlusPlus(FineTuned):
    """Cosine classifiers in place of linear ones, in training and in each episode.

    Args:
        scale: multiplies the cosine; 2 in the paper, 10 with more than 200 base classes.
        head_scale: of the cosine in an episode's head; 0 = as scale. mmfewshot trains ResNet-12, and tieredImageNet's
            Conv4, at 10, and takes 5 and 2 here.
        learn_norm: each class also has a learned factor, as the authors' weight normalisation leaves it; false is a
            true cosine.
        head_*: the head's SGD, see `FineTuned`.

    miniImageNet, Conv4, 5-way: 48.24 +- 0.75 at 1 shot, 66.43 +- 0.63 at 5 shots.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        scale: Positive = 2.0,
        head_scale: NonNegative = 0.0,
        learn_norm: bool = True,
        **head: Any,
    ) -> None:
        classifier = CosineClassifier(backbone.vector_dim, info.n_base, scale, learn_norm)
        super().__init__(backbone, info, classifier, **head)
        self.scale, self.head_scale, self.learn_norm = scale, head_scale or scale, learn_norm
        self.cosine_logits = not learn_norm

    def fit(self, task: Task, support: Tensor, start: Tensor, sgd: HeadSGD) -> Head:
        """A cosine head of the same kind."""
        scale, labels = self.head_scale, task.support_y
        return fit_cosine_head(support, labels, start, task.seed, scale, sgd, learn_norm=self.learn_norm)
