"""BD-CSPN: Liu, Song and Qin, "Prototype Rectification for Few-Shot Learning", ECCV 2020.

https://arxiv.org/abs/1911.10713
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Positive
from ..ops.groups import mean_by_class
from ..ops.rectify import rectified, shifted, unshifted
from ..ops.span import Span
from ..registry import METHODS
from .transductive import TransductiveHead


@METHODS.register("BD-CSPN")
class BDCSPN(TransductiveHead):
    """Nearest prototype, rectified by the queries, which are first moved to where the supports are.

    Args:
        sharpness: multiplies the cosines that weigh a vector in a prototype.
        classified: which queries are classified: shifted ones, as in LaplacianShot's code, or plain ones, as in
            Veilleux et al.'s; the authors published no code.
    """

    test_arguments = ("sharpness", "classified")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        sharpness: Positive = 10.0,
        classified: Literal["shifted", "plain"] = "shifted",
    ) -> None:
        super().__init__(backbone, info)
        self.sharpness, self.classified = sharpness, classified

    def classify(self, support: Tensor, query: Tensor, task: Task) -> Tensor:
        """Minus the squared distance to the rectified prototypes."""
        split = support.shape[1]
        span, rows, _ = Span.of(support, query)
        moved = shifted(span, split)
        prototypes = rectified(moved, mean_by_class(rows, task), self.sharpness)
        if self.classified == "shifted":
            span = moved
        else:
            prototypes = unshifted(prototypes, split)
        return -span.squared_to_all(prototypes)[:, :, split:].transpose(1, 2)
