"""NegMargin: Liu et al., "Negative Margin Matters: Understanding Margin in Few-shot Classification", ECCV 2020.

https://arxiv.org/abs/2003.12060
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from core.backbones.blocks import Backbone
from core.episode import Batch, DataInfo, Task
from core.methods.base import Method
from core.ops import random
from core.ops.adapt import HeadSGD, fit_cosine_head
from core.ops.distances import cosine
from core.registry import METHODS


@METHODS.register("NegMargin")
class NegMargin(Method):
    """A cosine classifier over the base classes, replaced in each episode by a fine-tuned one.

    Training: logits scale * cos(z, w_j) over mini-batches of base images. The margin is the objective's
    (OBJECTIVE.NAME: negmargin), and so absent at test time.
    Test: the backbone is frozen; a new cosine head with uniform initial rows in +-1/sqrt(d) is trained on the
    supports by SGD, by default the paper's 100 passes in mini-batches of 4 (200 steps at 1 shot, 700 at 5).

    Args:
        scale: of the training logits; 30 in the paper, 10 in mmfewshot and for Conv4.
        head_scale: of the fine-tuned head.
        head_passes: passes over the supports.
        head_batch, head_lr, head_momentum, head_dampening, head_weight_decay: the head's SGD.

    Differs from the authors' code: initial rows and mini-batches follow the episode's seed, and all episodes are
    fine-tuned together in Gram coordinates (`core.ops.adapt`).
    `order_free` and `class_symmetric` hold on average only: mini-batches and initial rows are random.
    """

    streams = ("batches",)
    cosine_logits = True
    class_symmetric = False
    order_free = False

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        scale: float = 10.0,
        head_scale: float = 5.0,
        head_passes: int = 100,
        head_batch: int = 4,
        head_lr: float = 0.01,
        head_momentum: float = 0.9,
        head_dampening: float = 0.9,
        head_weight_decay: float = 1e-3,
    ) -> None:
        super().__init__(backbone, info)
        self.logit_scale = scale
        self.head_scale = head_scale
        self.sgd = HeadSGD(head_passes, head_batch, head_lr, head_momentum, head_dampening, head_weight_decay)
        self.weight = nn.Parameter(torch.empty(info.n_base, backbone.vector_dim))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base]."""
        return self.logit_scale * cosine(batch.inputs["vector"][None], self.weight[None])[0]

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N] of heads fine-tuned on each task's supports."""
        support = task.support["vector"]
        width = support.shape[-1]
        start = (random.uniform(task.seed, "head", (task.way, width)) * 2 - 1) / math.sqrt(width)
        head = fit_cosine_head(support, task.support_y, start.to(support.dtype), task.seed, self.head_scale, self.sgd)
        return self.head_scale * cosine(task.query["vector"], head)
