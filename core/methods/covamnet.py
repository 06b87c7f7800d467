"""CovaMNet: Li et al., "Distribution Consistency Based Covariance Metric Networks for Few-shot Learning", AAAI 2019.

https://doi.org/10.1609/aaai.v33i01.33018642
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..limits import ShareBelowOne
from ..ops.local_descriptors import class_covariances, descriptors, quadratic_forms
from ..registry import METHODS
from .base import Method


@METHODS.register("CovaMNet")
class CovaMNet(Method):
    """A class is the covariance of its local descriptors; a query scores by how well its descriptors lie along it.

    Sigma_n = 1 / (M - 1) sum_i (y_i - mean)(y_i - mean)^T over the M = K * h * w descriptors of class n, and
    logit(q, n) = sum_p w_p LeakyReLU_0.2(x_qp^T Sigma_n x_qp) with one learned weight a position, shared by the
    classes, and dropout before it.

    Args:
        dropout: of the metric at each position, in training.

    Queries are normalised as in the authors' code: each channel over the positions of its map.
    Differs from the authors' code: the weights start equal, at 1 / (h * w), so that an untrained network already
    ranks classes by the mean metric; theirs are random in sign. Unequal shots are allowed.

    Shapes: maps [T, n, C, h, w], covariances [T, N, C, C], metric [T, N, Q * h * w], logits [T, Q, N].
    """

    needs = ("map",)

    def __init__(self, backbone: Backbone, info: DataInfo, *, dropout: ShareBelowOne = 0.5) -> None:
        super().__init__(backbone, info)
        positions = backbone.map_size**2
        if positions == 1:
            raise UserError(
                "METHOD.NAME is CovaMNet, but the backbone's map has a single position, which has no covariance; let "
                "the backbone pool less."
            )
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.full((positions,), 1 / positions))

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N]."""
        covariance = class_covariances(descriptors(task.support["map"]), task)
        query = F.normalize(task.query["map"].flatten(3), dim=3).transpose(2, 3)
        metric = quadratic_forms(query.flatten(1, 2), covariance).unflatten(2, query.shape[1:3])
        return (self.dropout(F.leaky_relu(metric, 0.2)) @ self.weight).transpose(1, 2)
