"""TIM: Boudiaf et al., "Transductive Information Maximization For Few-Shot Learning", NeurIPS 2020.

https://arxiv.org/abs/2008.11297
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from ..backbones.blocks import Backbone
from ..episode import DataInfo, Task
from ..errors import UserError
from ..limits import NonNegative, Positive, ZeroOrMore
from ..ops.groups import mean_by_class
from ..ops.mutual_information import Descent, Weights, alternate, logits_of
from ..registry import METHODS
from .transductive import TransductiveHead


@METHODS.register("TIM")
class TIM(TransductiveHead):
    """Class vectors for which the queries' labels are sure and diverse, and the supports' are right.

    Args:
        solver: adm, the alternating direction method, or gd, Adam on the class vectors.
        steps: of the solver; the authors take 150 with adm and 1000 with gd.
        weights: of the supports' cross-entropy, of the entropy of the mean label, and of the labels' mean entropy.
            Veilleux et al. take [1, 10, 1] with balanced queries and [1, 1, 1] with unbalanced ones, both with gd.
        temperature: multiplies half the squared distance to a class vector.
        rate: Adam's learning rate, gd.

    A step of adm has no bound on its length. Where all features are nearly alike, as in an untrained network, steps
    after the first 50 may overshoot, and then the last digit of a feature decides; gd moves slowly enough.

    Differs from the authors' code: no 1e-12 is added to probabilities, which the logarithm of a softmax does not need.
    """

    test_arguments = ("solver", "steps", "weights", "temperature", "rate")

    def __init__(
        self,
        backbone: Backbone,
        info: DataInfo,
        *,
        solver: Literal["adm", "gd"] = "adm",
        steps: ZeroOrMore = 150,
        weights: Sequence[float] = [0.1, 1.0, 0.1],
        temperature: Positive = 15.0,
        rate: NonNegative = 1e-4,
    ) -> None:
        super().__init__(backbone, info, norm="L2N")
        self.solver = solver
        self.descent = Descent(checked_weights(weights), 1.0, temperature, rate, steps)

    def classify(self, support: Tensor, query: Tensor, task: Task) -> Tensor:
        """Minus half the temperature times the squared distance to the class vectors."""
        how = self.descent
        if self.solver == "adm":
            return alternate(support, task.support_y, query, task.way, how.weights, how.temperature, how.steps)
        rows = how.class_vectors(support, task.support_y, query, mean_by_class(support, task))
        return logits_of(query, rows, how.temperature)


def checked_weights(weights: Sequence[float]) -> Weights:
    """The weights of METHOD.ARGS.weights.

    Raises:
        UserError: where they are not three numbers of 0 or more, or none is above 0.
    """
    numbers = [w for w in weights if isinstance(w, int | float) and w >= 0]
    if len(numbers) != 3 or len(weights) != 3 or not any(numbers):
        raise UserError(
            f"METHOD.ARGS.weights is {list(weights)}, which must be three numbers of 0 or more, not all 0: of the "
            "supports' cross-entropy, of the entropy of the mean label, and of the labels' mean entropy."
        )
    return Weights(*map(float, numbers))
