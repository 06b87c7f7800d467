"""TapNet: Yoon, Seo and Moon, "TapNet: Neural Network Augmented with Task-Adaptive Projection", ICML 2019.

https://arxiv.org/abs/1905.06549
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..ops.distances import squared_euclidean
from ..ops.groups import class_mean
from ..ops.matching import best_matching, greedy_matching
from ..ops.null_space import without
from ..registry import METHODS
from .base import Method

EPS = 1e-6  # added to lengths, as in the authors' code


@METHODS.register("TapNet")
class TapNet(Method):
    """Nearest learned reference, in the space in which references and class means agree.

    Each class of a training episode has a learned reference Phi_n with an offset beta_n. With class means c_n, the
    errors are e_n = u(N Phi_n - sum_m Phi_m) - u(c_n), where u makes vectors as long as 1. Logits are
    -|(q - Phi_n) M|^2 + 2 beta_n, with M the null space of the errors, which is taken as a constant: the supports shape
    the projection, and the network learns through the queries.

    At test each class takes one of the references, and N counts those that are taken.

    Args:
        matching: greedy, as in the authors' code: class after class takes the free reference with the largest
            2 (Phi_j c_n + beta_j) - |Phi_j|^2, so that the order of the classes matters; or best, the pairing with the
            largest sum.

    Differs from the authors' code: no singular value decomposition, M M^T = I - E^T (E E^T)^-1 E.

    miniImageNet, ResNet12Tap, 5-way: 61.65 +- 0.15 at 1 shot, 76.36 +- 0.10 at 5 shots.
    """

    test_arguments = ("matching",)
    base_from_means = False

    def __init__(self, backbone: Backbone, info: DataInfo, *, matching: Literal["greedy", "best"] = "greedy") -> None:
        super().__init__(backbone, info)
        if backbone.vector_dim <= info.way:
            raise UserError(
                f"TASK.TRAIN.WAY is {info.way}, but vectors of BACKBONE.NAME have {backbone.vector_dim} numbers, and "
                f"TapNet removes one direction for each class; lower it, or take a wider backbone."
            )
        self.references = nn.Linear(backbone.vector_dim, info.way)
        nn.init.normal_(self.references.weight, std=backbone.vector_dim**-0.5)
        nn.init.zeros_(self.references.bias)
        self.matching = greedy_matching if matching == "greedy" else best_matching
        self.class_symmetric = matching == "best"

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N].

        Raises:
            UserError: for a task with more classes than references.
        """
        means = class_mean(task, "vector")
        references, offsets = self._of_classes(means)
        ways = references.shape[1]
        apart = ways * references - references.sum(1, keepdim=True)
        errors = _unit(apart) - _unit(means)
        query, references = without(errors, task.query["vector"]), without(errors, references)
        return 2 * offsets[:, None] - squared_euclidean(query, references)

    def base_logits(self, task: Task) -> Tensor:
        """Refused: base classes have no references.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{self.name} has one reference for each class of a training episode, so it cannot score base classes; "
            "evaluate it without them."
        )

    def _of_classes(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """The references [T, N, d] of the classes and their offsets [T, N]; in training the classes' own."""
        table, offsets = self.references.weight, self.references.bias
        tasks, ways, _ = means.shape
        if ways > len(table):
            raise UserError(
                f"TASK.TEST.WAY is {ways}, but {self.name} has learned {len(table)} references, one for each class of "
                f"training episodes; lower it to {len(table)}, or train with a larger TASK.TRAIN.WAY."
            )
        if self.training:
            rows = torch.arange(ways, device=means.device).expand(tasks, -1)
        else:
            closeness = 2 * (means @ table.T + offsets) - table.square().sum(1)
            rows = self.matching(closeness.detach())
        return table[rows], offsets[rows]


def _unit(x: Tensor) -> Tensor:
    """Vectors at length 1; those of no length stay."""
    return x / (x.norm(dim=-1, keepdim=True) + EPS)
