"""Dynamic FSL: Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", CVPR 2018.

https://arxiv.org/abs/1804.09458
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Task
from ..errors import UserError
from ..limits import Positive
from ..objectives.loss import Loss
from ..ops.groups import mean_by_class
from ..registry import METHODS
from .base import Method


@METHODS.register("DynamicFSL")
class DynamicFSL(Method):
    """Cosine classifiers for base and novel classes; the weights of a novel class are generated from its supports.

    Two stages (section 3). With `generator` none, network and base weights w_b are trained as a classifier, logits
    s * cos(z, w_b) with a learned s, and a novel class has the mean of its normalised supports for weights. In a
    stage with another generator the network is frozen, and starts from that stage with its base weights and s. Then
    the classes of an episode play novel ones: each has weights

        phi_avg * mean(z) + phi_att * mean(sum_b attention_b(z) w_b / |w_b|)            over its supports z (eq. 7)
        attention(z) = softmax over b of gamma * cos(phi_q z, k_b)                                          (eq. 8)

    in place of its own, which neither the logits nor the attention sees; the second term is absent with averaging.
    The loss tells queries of the episode and of the other base classes (TASK.TRAIN.BASE_QUERY) from all classes.

    Args:
        generator: none, averaging or attention.
        scale: where s starts.
        gamma: where the sharpness of attention starts; 30 on ImageNet.

    Differs from the authors' code: no bias. Theirs is one number for all classes, without a gradient.

    miniImageNet, Conv4 with 64-64-128-128 channels, 5-way: 56.20 at 1 shot, 73.00 at 5 shots.
    Wants a network without a last ReLU (BACKBONE.ARGS.last_relu: false).
    """

    streams = ("batches", "episodes")
    cosine_logits = True
    base_from_means = False
    loss_over_base = True

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        generator: Literal["none", "averaging", "attention"] = "attention",
        scale: Positive = 10.0,
        gamma: Positive = 10.0,
    ) -> None:
        super().__init__(backbone, info)
        width = backbone.vector_dim
        self.weight = nn.Parameter(torch.randn(info.n_base, width) * math.sqrt(2 / width))
        self.scale = nn.Parameter(torch.tensor(scale))
        self.phi_avg = nn.Parameter(torch.ones(width)) if generator != "none" else None
        self.attention = Attention(width, info.n_base, gamma) if generator == "attention" else None
        self._read_words = lambda: info.semantics  # for objectives on word vectors, which are set later
        self._words: Tensor | None = None
        self.frozen_backbone = generator != "none"
        self.backbone.requires_grad_(not self.frozen_backbone)

    def train(self, mode: bool = True) -> DynamicFSL:
        """Training mode; a frozen network stays in eval mode. Stored features, without a network, keep dropout."""
        super().train(mode)
        if self.frozen_backbone and any(True for _ in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def start_from(self, previous: Method) -> str:
        """Take the network, and from another stage of this method the base weights and s."""
        line = super().start_from(previous)
        if not isinstance(previous, DynamicFSL):
            return line
        with torch.no_grad():
            self.weight.copy_(previous.weight)
            self.scale.copy_(previous.scale)
        return f"{line}, with its base weights and scale"

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        return self.scale * F.normalize(task.query["vector"], dim=-1) @ self.novel_weights(task).transpose(1, 2)

    def novel_weights(self, task: Task) -> Tensor:
        """Weights of the task's classes, [T, N, D], of length 1."""
        support = F.normalize(task.support["vector"], dim=-1)
        weights = mean_by_class(support, task)
        if self.phi_avg is not None:
            weights = self.phi_avg * weights
        if self.attention is not None:
            weights = weights + self.attention(support, task, F.normalize(self.weight, dim=-1))
        return F.normalize(weights, dim=-1)

    def base_logits(self, task: Task) -> Tensor:
        """The classifier's logits, [T, Q, n_base]."""
        return self._classify(task.query["vector"])

    def batch_logits(self, batch: Batch) -> Tensor:
        """Base-class logits [n, n_base]."""
        return self._classify(batch.inputs["vector"])

    def loss(self, item: Task | Batch) -> Loss:
        """The objective over all base classes; those of the task have generated weights."""
        if isinstance(item, Batch):
            return super().loss(item)
        if item.way >= len(self.weight):
            raise UserError(
                f"TASK.TRAIN.WAY is {item.way}, but {self.name} tells an episode's classes from others and there are "
                f"{len(self.weight)} base classes in all; lower it."
            )
        logits, y = self.joint(item)
        if self.objective.needs_semantics and self._words is None:
            self._words = self._read_words().to(logits)
        return self.judge(logits.flatten(0, 1), y.flatten(), replace(item, semantics=self._words))

    def joint(self, task: Task) -> tuple[Tensor, Tensor]:
        """Logits [T, Q + Q_b, n_base] of a training task's queries, base ones behind, and their base classes.

        Column b is base class b: with its own weights, or with generated ones where it is a class of the task.
        """
        y = task.class_ids.gather(1, task.query_y)
        if task.base_query is not None:
            assert task.base_query_y is not None, "labels come with base queries"
            y = torch.cat([y, task.base_query_y], dim=1)
            task = task.all_queries()
        novel = self(task)
        columns = task.class_ids[:, None].expand_as(novel)
        return self.base_logits(task).scatter(2, columns, novel), y

    def _classify(self, vectors: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(vectors, dim=-1), F.normalize(self.weight, dim=-1))


class Attention(nn.Module):
    """The second term of eq. 7: the part of a novel class's weights that comes from similar base classes."""

    def __init__(self, width: int, n_base: int, gamma: float) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.keys = nn.Parameter(torch.randn(n_base, width) * math.sqrt(2 / width))
        self.gamma = nn.Parameter(torch.tensor(gamma))
        self.phi_att = nn.Parameter(torch.ones(width))
        with torch.no_grad():
            self.query.weight.copy_(torch.eye(width) + 0.001 * torch.randn(width, width))
            self.query.bias.zero_()

    def forward(self, support: Tensor, task: Task, weights: Tensor) -> Tensor:
        """[T, N, D] from normalised supports [T, n_s, D] and normalised base weights [n_base, D]."""
        return self.phi_att * (mean_by_class(self.attend(support, task), task) @ weights)

    def attend(self, support: Tensor, task: Task) -> Tensor:
        """Attention of each support to each base class, [T, n_s, n_base]; 0 for classes of the task."""
        cosine = F.linear(F.normalize(self.query(support), dim=-1), F.normalize(self.keys, dim=-1))
        n_base = len(self.keys)
        ids = task.class_ids.where((task.class_ids >= 0) & (task.class_ids < n_base), n_base)
        in_task = F.one_hot(ids, n_base + 1)[..., :n_base].any(1)
        return (self.gamma * cosine).masked_fill(in_task[:, None], -math.inf).softmax(-1)
