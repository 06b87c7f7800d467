"""alpha-TIM: Veilleux, Boudiaf, Piantanida and Ben Ayed, "Realistic evaluation of transductive few-shot learning".

NeurIPS 2021, https://arxiv.org/abs/2204.11181
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..limits import NonNegative, Positive, ZeroOrMore
from ..ops.groups import mean_by_class
from ..ops.mutual_information import Descent, logits_of
from ..registry import METHODS
from .tim import checked_weights
from .transductive import ByShot, TransductiveHead


@METHODS.register("AlphaTIM")
class AlphaTIM(TransductiveHead):
    """TIM with Tsallis entropies of the labels, which ask less for as many queries of each class.

    Args:
        alpha: of the entropies, in pairs of a shot and the value from it on; 1 is TIM. The authors take 2 at 1 shot
            and 7 from 5 shots.
        steps, weights, temperature, rate: of Adam, see `TIM`.

    Differs from the authors' code: 2 to 4 shots have the value of 1 shot, where theirs takes 5.
    """

    test_arguments = ("alpha", "steps", "weights", "temperature", "rate")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        alpha: Sequence[Sequence[float]] = [[1, 2.0], [5, 7.0]],
        steps: ZeroOrMore = 1000,
        weights: Sequence[float] = [1.0, 1.0, 1.0],
        temperature: Positive = 15.0,
        rate: NonNegative = 1e-4,
    ) -> None:
        super().__init__(backbone, info, norm="L2N")
        self.alpha = ByShot(alpha, "alpha")
        self.descent = Descent(checked_weights(weights), 1.0, temperature, rate, steps)

    def classify(self, support: Tensor, query: Tensor, task: Task) -> Tensor:
        """Minus half the temperature times the squared distance to the class vectors."""
        how = replace(self.descent, alpha=self.alpha.of(task))
        rows = how.class_vectors(support, task.support_y, query, mean_by_class(support, task))
        return logits_of(query, rows, how.temperature)
