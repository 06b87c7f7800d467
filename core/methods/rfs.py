"""RFS: Tian, Wang, Krishnan, Tenenbaum and Isola, "Rethinking Few-shot Image Classification", ECCV 2020.

https://arxiv.org/abs/2003.11539
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from core.backbones.blocks import Backbone
from core.episode import DataInfo, Task
from core.methods.distillation import Distilled
from core.ops.logistic import fit_logistic
from core.registry import METHODS


@METHODS.register("RFS")
class RFS(Distilled):
    """A linear classifier over the base classes; logistic regression on normalised features in each episode.

    A stage of RFS after another stage of RFS is self-distillation, see `Distilled` (one generation in the paper).

    Args:
        inverse_penalty: C of the logistic regression.
        distill, temperature: of a distillation stage.

    Differs from the authors' code: Newton's method over all tasks at once in place of scikit-learn's L-BFGS task by
    task (the same minimum); supports are not augmented, which their published numbers include (five crops each).

    CIFAR-FS, Conv4, 5-way: 62.7 +- 0.8 at 1 shot, 78.7 +- 0.5 at 5; distilled 63.8 +- 0.8 and 79.5 +- 0.5.
    """

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        inverse_penalty: float = 1.0,
        **distillation,
    ) -> None:
        super().__init__(backbone, info, nn.Linear(backbone.vector_dim, info.n_base), **distillation)
        self.inverse_penalty = inverse_penalty

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        support, query = (F.normalize(features["vector"], dim=-1) for features in (task.support, task.query))
        return fit_logistic(support, task.support_y, task.way, self.inverse_penalty).logits(query)
