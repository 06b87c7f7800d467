"""Tip-Adapter: Zhang, Zhang, Fang, Gao, Li, Dai, Qiao and Li, ECCV 2022. https://arxiv.org/abs/2207.09519"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Positive
from ..ops.groups import class_shots
from ..registry import METHODS
from .base_training import BaseTrained


@METHODS.register("TipAdapter")
class TipAdapter(BaseTrained):
    """A cache of the supports, without the text: a class scores sum_i exp(-beta (1 - cos(q, s_i))) over its supports.

    Logits are the logarithm of the score (eqs. 1 to 4, without CLIP's term). At 1 shot this is the nearest support by
    cosine. A small beta compares with the mean cosine of a class, a large one with its nearest support.

    Args:
        beta: how sharply a query looks at its nearest supports.
        augmented: a support is the mean of augmented copies (DATASET.VIEWS: [whole, aug-10]), of length 1, as in the
            authors' code; queries stay as they are.

    Differs from the authors' code: no text, so that alpha has nothing to weigh; copies are drawn once for an image; of
    unequal shots, each class's sum counts as if it had as many supports as the largest.
    """

    scores_base = False  # a score grows with the number of supports
    test_arguments = ("beta", "augmented")

    def __init__(self, backbone: Backbone, info: DataInfo, *, beta: Positive = 5.5, augmented: bool = False) -> None:
        super().__init__(backbone, info, nn.Linear(backbone.vector_dim, info.n_base))
        self.beta = beta
        self.needs = ("vector", "parts") if augmented else ("vector",)
        self.train_needs = ("vector",)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        keys = task.support["parts"].mean(2) if "parts" in self.needs else task.support["vector"]
        keys, query = F.normalize(keys, dim=-1), F.normalize(task.query["vector"], dim=-1)
        closeness = self.beta * (query @ keys.transpose(1, 2) - 1)  # [T, Q, n_s]
        counts = class_shots(task)
        of_classes = zip(closeness.split(counts, dim=2), counts, strict=True)
        scores = [shots.logsumexp(2) + math.log(max(counts) / count) for shots, count in of_classes]
        return torch.stack(scores, dim=2)
