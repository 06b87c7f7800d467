"""NegMargin: Liu et al., "Negative Margin Matters: Understanding Margin in Few-shot Classification", ECCV 2020.

https://arxiv.org/abs/2003.12060
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..layers.classifiers import CosineClassifier, DotClassifier
from ..limits import Positive
from ..ops.adapt import Head, HeadSGD, fit_cosine_head, fit_linear_head
from ..registry import METHODS
from .base_training import FineTuned


@METHODS.register("NegMargin")
class NegMargin(FineTuned):
    """A classifier trained with a negative margin over the base classes, replaced in each episode by a fine-tuned one.

    Training: logits scale * similarity(z, w_j), without bias. The margin is the objective's (OBJECTIVE.NAME:
    negmargin), and so absent at test time. Test: see `FineTuned`.

    Args:
        metric: cosine, or softmax for the inner product. The authors subtract the smallest product of each sample,
            which changes neither loss nor gradient nor argmax; we do not.
        scale: of the training logits; 30 in the paper's cosine form, 10 in mmfewshot and for Conv4, 5 or 10 in the
            softmax form.
        learn_scale: the scale is where a learned one starts; margins then act on the learned one.
        head_scale: of the fine-tuned head.
        head_*: the head's SGD, see `FineTuned`.

    miniImageNet, ResNet-12, 5-way: 63.85 +- 0.81 at 1 shot, 81.57 +- 0.56 at 5 shots.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        metric: Literal["cosine", "softmax"] = "cosine",
        scale: Positive = 10.0,
        learn_scale: bool = False,
        head_scale: Positive = 5.0,
        **head: Any,
    ) -> None:
        kind = {"cosine": CosineClassifier, "softmax": DotClassifier}[metric]
        classifier = kind(backbone.vector_dim, info.n_base, scale, learn_scale=learn_scale)
        super().__init__(backbone, info, classifier, **head)
        self.head_scale = head_scale
        self.cosine_logits = metric == "cosine"

    @property
    def scale(self) -> float | Tensor:
        """The classifier's scale, learned or not."""
        return self.classifier.scale

    def fit(self, task: Task, support: Tensor, start: Tensor, sgd: HeadSGD) -> Head:
        """A head of the same metric."""
        fit = fit_cosine_head if self.cosine_logits else fit_linear_head
        return fit(support, task.support_y, start, task.seed, self.head_scale, sgd)
