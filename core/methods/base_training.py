"""What methods share that train a classifier over the base classes and only adapt a head at test."""

from __future__ import annotations

import math

from torch import Tensor, nn

from core.backbones.blocks import Backbone
from core.episode import Batch, DataInfo, Task
from core.methods.base import Method
from core.ops import random
from core.ops.adapt import Head, HeadSGD


class BaseTrained(Method):
    """A backbone trained with `classifier` over mini-batches of base images; a subclass says what happens at test."""

    streams = ("batches",)
    base_from_means = False

    def __init__(self, backbone: Backbone, info: DataInfo, classifier: nn.Module) -> None:
        super().__init__(backbone, info)
        self.classifier = classifier

    def base_logits(self, task: Task) -> Tensor:
        """Those of the classifier, [T, Q, n_base]."""
        return self.classifier(task.query["vector"])

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base]."""
        return self.classifier(batch.inputs["vector"])


class FineTuned(BaseTrained):
    """At test the backbone is frozen and a new head is trained on the supports of each episode by SGD.

    Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019, https://arxiv.org/abs/1904.04232: 100 passes
    in mini-batches of 4 (200 steps at 1 shot, 700 at 5), learning rate 0.01, momentum and dampening 0.9, weight decay
    0.001. mmfewshot takes 150 steps at 1 shot and 600 at 5.

    Args:
        head_passes: passes over the supports.
        head_steps: stop after so many steps, whatever the passes; 0 = the passes decide.
        head_batch, head_lr, head_momentum, head_dampening, head_weight_decay: the head's SGD.

    Differs from the authors' code: initial rows and mini-batches follow the episode's seed, and all episodes are
    fine-tuned together in Gram coordinates (`core.ops.adapt`).
    `order_free` and `class_symmetric` hold on average only: mini-batches and initial rows are random.
    """

    class_symmetric = False
    order_free = False

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        classifier: nn.Module,
        *,
        head_passes: int = 100,
        head_steps: int = 0,
        head_batch: int = 4,
        head_lr: float = 0.01,
        head_momentum: float = 0.9,
        head_dampening: float = 0.9,
        head_weight_decay: float = 1e-3,
    ) -> None:
        super().__init__(backbone, info, classifier)
        self.sgd = HeadSGD(
            head_passes, head_steps, head_batch, head_lr, head_momentum, head_dampening, head_weight_decay
        )

    def fit(self, task: Task, support: Tensor, start: Tensor) -> Head:
        """Train heads on supports [T, n_s, d] from rows [T, N, d]."""
        raise NotImplementedError

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N] of heads fine-tuned on each task's supports."""
        support = task.support["vector"]
        start = self.uniform(task, "head", (task.way, support.shape[-1]), support)
        return self.fit(task, support, start).logits(task.query["vector"])

    @staticmethod
    def uniform(task: Task, tag: str, shape: tuple[int, ...], support: Tensor) -> Tensor:
        """Initial values as torch's layers draw them, uniform in +-1/sqrt(d), from the episodes' seeds."""
        drawn = random.uniform(task.seed, tag, shape) * 2 - 1
        return (drawn / math.sqrt(support.shape[-1])).to(support.dtype)
