"""ECM: Ravichandran, Bhotika and Soatto, "Few-Shot Learning with Embedded Class Models and Shot-Free Meta Training",
ICCV 2019. https://arxiv.org/abs/1905.04398
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import Batch, DataInfo, Task
from ..limits import Positive
from ..ops.groups import mean_by_class
from ..registry import METHODS
from .base_training import BaseTrained


class ClassModels(nn.Module):
    """Minus |u(z) - u(c_k)|^2 for a learned model c_k of each class, with u for length 1."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.models = nn.Parameter(torch.randn(classes, width))

    def forward(self, vectors: Tensor) -> Tensor:
        """[..., d] to [..., classes]."""
        return closeness(vectors, self.models)


def closeness(vectors: Tensor, models: Tensor) -> Tensor:
    """Minus the squared distance at length 1: [..., n, d] and [..., N, d] to [..., n, N]."""
    return 2 * F.normalize(vectors, dim=-1) @ F.normalize(models, dim=-1).transpose(-1, -2) - 2


@METHODS.register("ECM")
class ECM(BaseTrained):
    """Class models in the space of the features, learned with the network over the base classes.

    Training: logits -s |u(z) - u(c_k)|^2, which are those of a cosine classifier with scale 2 s, less 2 s. Test: the
    model of a class is what is nearest to its supports at length 1, in squared distance: their mean. Shots are free.

    Args:
        scale: where the learned s starts.

    This is a method like the paper's, not a reproduction: no code was released, and the class function of the paper is
    defined implicitly, so no published number is claimed.
    """

    def __init__(self, backbone: Backbone, info: DataInfo, *, scale: Positive = 5.0) -> None:
        super().__init__(backbone, info, ClassModels(backbone.vector_dim, info.n_base))
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        models = mean_by_class(F.normalize(task.support["vector"], dim=-1), task)
        return self.scale * closeness(task.query["vector"], models)

    def base_logits(self, task: Task) -> Tensor:
        """Logits of the learned models, [T, Q, n_base]."""
        return self.scale * super().base_logits(task)

    def batch_logits(self, batch: Batch) -> Tensor:
        """Logits of the learned models, [n, n_base]."""
        return self.scale * super().batch_logits(batch)
