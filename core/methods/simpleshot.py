"""SimpleShot: Wang, Chao, Weinberger and van der Maaten, 2019, https://arxiv.org/abs/1911.04623."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..ops.distances import squared_euclidean
from ..ops.groups import mean_by_class
from ..registry import METHODS
from .base_training import BaseTrained


@METHODS.register("SimpleShot")
class SimpleShot(BaseTrained):
    """Nearest class mean on the features of a network trained to classify the base classes.

    Args:
        norm: UN leaves features as they are; L2N scales them to length 1; CL2N first subtracts the mean feature of
            all base images. Class means are taken after the transform.
    """

    base_from_means = True
    base_share: Tensor  # of the base images, [n_base]

    def __init__(self, backbone: Backbone, info: DataInfo, *, norm: Literal["UN", "L2N", "CL2N"] = "CL2N") -> None:
        super().__init__(backbone, info, nn.Linear(backbone.vector_dim, info.n_base))
        self.norm = norm
        self.needs = ("vector", "base") if norm == "CL2N" else ("vector",)
        counts = torch.tensor(info.base_counts or [1] * info.n_base)
        self.register_buffer("base_share", counts / counts.sum(), persistent=False)

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]: minus the squared distance to the class means."""
        support, query = self.vectors(task)
        return -squared_euclidean(query, mean_by_class(support, task))

    def vectors(self, task: Task) -> tuple[Tensor, Tensor]:
        """Transformed supports [T, n_s, d] and queries [T, Q, d]."""
        support, query = (self._transformed(task, features["vector"]) for features in (task.support, task.query))
        return support, query

    def _transformed(self, task: Task, vectors: Tensor) -> Tensor:
        if self.norm == "UN":
            return vectors
        if self.norm == "L2N":
            return F.normalize(vectors, dim=-1)
        assert task.base is not None, "`needs` names the base means"
        centre = self.base_share.to(task.base["vector"]) @ task.base["vector"]
        return F.normalize(vectors - centre, dim=-1)
