"""FEAT: Ye, Hu, Zhan and Sha, "Few-Shot Learning via Embedding Adaptation with Set-to-Set Functions", CVPR 2020.

https://arxiv.org/abs/1812.03664
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import NonNegative, Positive, ShareBelowOne
from ..objectives.loss import Loss
from ..ops.distances import squared_euclidean
from ..ops.groups import class_mean, stacked_by_class
from ..registry import METHODS
from .base import Method


@METHODS.register("FEAT")
class FEAT(Method):
    """Prototypes that attend to each other: logits -|f(q) - c'_n|^2 / temperature with {c'} = attention({c}) (eq. 4).

    Training adds a contrastive term (eq. 8): all instances of a class, supports and queries, adapted as one set; their
    mean is the class's centre, and every instance, unadapted, is classified among the centres at `temperature2`.
    The backbone comes from a stage that trains a classifier (METHOD: Baseline).

    Args:
        temperature: T of the logits. The authors take 64 or, at 5 shots with Conv4, 32.
        temperature2: T of the contrastive term; 16 to 64.
        balance: weight of the contrastive term; 1 at 1 shot and 0.1 at 5 with Conv4, 0.01 and 0.1 with ResNet-12.
        head_factor: the attention learns with so many times the backbone's learning rate.
        dropout: of the attention's output; its weights are dropped at 0.1. In training only.

    Authors' Conv4 takes the largest value of each channel as vector (BACKBONE.VECTOR max); ResNet-12 the mean.
    Differs from their code: the classifier is validated at 5 ways, not at 16.

    miniImageNet, 5-way, 1 and 5 shots: Conv4 55.15 +- 0.20, 71.61 +- 0.16; ResNet-12 66.78 +- 0.20, 82.05 +- 0.14.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        temperature: Positive = 64.0,
        temperature2: Positive = 16.0,
        balance: NonNegative = 1.0,
        head_factor: NonNegative = 10.0,
        dropout: ShareBelowOne = 0.5,
    ) -> None:
        super().__init__(backbone, info)
        self.scale = 1 / temperature
        self.temperature2, self.balance, self.head_factor = temperature2, balance, head_factor
        self.attention = SetAttention(backbone.vector_dim, dropout)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        prototypes = self.attention(class_mean(task, "vector"))
        return -self.scale * squared_euclidean(task.query["vector"], prototypes)

    def loss(self, item: Task) -> Loss:  # type: ignore[override]  # its one stream is episodes
        """The objective on the queries, and the contrastive term."""
        loss = super().loss(item)
        return replace(loss, value=loss.value + self.balance * self.contrast(item))

    def contrast(self, task: Task) -> Tensor:
        """Cross-entropy of every instance among the centres of the adapted classes, which have equal counts."""
        support, _ = stacked_by_class(task.support["vector"], task)
        order = task.query_y.argsort(dim=1, stable=True)[..., None].expand_as(task.query["vector"])
        query = task.query["vector"].gather(1, order).unflatten(1, (task.way, -1))
        instances = torch.cat([support, query], dim=2)  # [T, N, K + Q/N, d]
        centres = self.attention(instances.flatten(0, 1)).unflatten(0, instances.shape[:2]).mean(2)
        logits = -squared_euclidean(instances.flatten(1, 2), centres) / self.temperature2
        labels = torch.arange(task.way, device=logits.device).repeat_interleave(instances.shape[2])
        return F.cross_entropy(logits.flatten(0, 1), labels.repeat(task.tasks))

    def special_groups(self, lr: float) -> list[dict]:
        """The attention learns at `head_factor` times the backbone's rate."""
        return [{"params": list(self.attention.parameters()), "lr": self.head_factor * lr}]


class SetAttention(nn.Module):
    """One head of self-attention over a set, with a residual and layer-norm: 4 d^2 + 3 d parameters."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.drop_weights, self.drop_out = nn.Dropout(0.1), nn.Dropout(dropout)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt the members of sets [B, n, d]; returns the same shape."""
        scores = self.query(x) @ self.key(x).transpose(1, 2) / math.sqrt(x.shape[-1])
        mixed = self.drop_weights(scores.softmax(-1)) @ self.value(x)
        return self.norm(x + self.drop_out(self.out(mixed)))
