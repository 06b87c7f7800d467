"""LaplacianShot: Ziko, Dolz, Granger and Ben Ayed, "Laplacian Regularized Few-Shot Learning", ICML 2020.

https://arxiv.org/abs/2006.15486
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import Count, ZeroOrMore
from ..ops.groups import mean_by_class
from ..ops.neighbours import agreeing_logits, nearest_neighbours
from ..ops.rectify import rectified, shifted
from ..ops.span import Span
from ..registry import METHODS
from .transductive import ByShot, TransductiveHead

SCALE = 10.0  # of the cosines that weigh a vector in a rectified prototype


@METHODS.register("LaplacianShot")
class LaplacianShot(TransductiveHead):
    """Nearest prototype, where the nearest queries of a query pull it towards their classes.

    Args:
        pull: lambda, in pairs of a shot and the value from it on; the authors choose it on the validation classes from
            0.1, 0.3, 0.5, 0.7, 0.8, 1, 1.2 and 1.5.
        neighbours: how many queries pull one.
        rectify: prototypes and queries as in BD-CSPN; otherwise class means and the queries as they are.
        steps: iterations of the labels.

    Differs from the authors' code: all steps are taken, where theirs stops once the energy moves by less than 1e-6 of
    itself.
    """

    test_arguments = ("pull", "neighbours", "rectify", "steps")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        pull: Sequence[Sequence[float]] = [[1, 0.7], [5, 0.3]],
        neighbours: Count = 2,
        rectify: bool = True,
        steps: ZeroOrMore = 20,
    ) -> None:
        super().__init__(backbone, info)
        self.pull, self.neighbours, self.rectify, self.steps = ByShot(pull, "pull"), neighbours, rectify, steps

    def classify(self, support: Tensor, query: Tensor, task: Task) -> Tensor:
        """Minus the squared distance to the prototypes, plus what the neighbours add."""
        split = support.shape[1]
        span, rows, _ = Span.of(support, query)
        prototypes = mean_by_class(rows, task)
        weights = nearest_neighbours(Span(span.gram[:, split:, split:]).squared_between_all(), self.neighbours)
        if self.rectify:
            span = shifted(span, split)
            prototypes = rectified(span, prototypes, SCALE)
        unary = -span.squared_to_all(prototypes)[:, :, split:]
        return agreeing_logits(unary.transpose(1, 2), weights, self.pull.of(task), self.steps)
