"""Shared by methods that classify all queries of a task together, on features of a network trained on base images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..episode import Task
from ..errors import UserError
from .simpleshot import SimpleShot


class TransductiveHead(SimpleShot):
    """A head on frozen features; a subclass says how supports and queries together give logits.

    Balanced queries favour methods that expect as many of each class; TASK.TEST.QUERY_ALPHA measures without.
    """

    transductive = True
    scores_base = False  # queries of base classes would be shared out among a task's classes

    def forward(self, task: Task) -> Tensor:
        """Logits [T, Q, N] of all queries together.

        Raises:
            UserError: where a task has one query, which has no others to learn from.
        """
        support, query = self.vectors(task)
        refuse_one_query(self.name, query)
        return self.classify(support, query, task)

    def classify(self, support: Tensor, query: Tensor, task: Task) -> Tensor:
        """Logits [T, Q, N] from transformed supports [T, n_s, d] and queries [T, Q, d]."""
        raise NotImplementedError


def refuse_one_query(name: str, query: Tensor) -> None:
    """Raise a UserError where a task has one query, which has no others to learn from; `query` is [T, Q, d]."""
    if query.shape[1] < 2:
        raise UserError(
            f"{name} classifies the queries of a task together, but this one has 1; give it 2 or more (in episodes "
            "TASK.TEST.QUERIES), or choose an inductive method."
        )


class ByShot:
    """A hyper-parameter that its authors choose for each number of shots: pairs of a shot and a value.

    A value holds from its shot on, up to the next pair's; below the first pair's shot that one's holds.

    Args:
        pairs: e.g. [[1, 0.7], [5, 0.3]].
        name: of the argument.

    Raises:
        UserError: where these are no pairs of a shot and a number, each shot above the one before.
    """

    def __init__(self, pairs: Sequence[Sequence[float]], name: str) -> None:
        good = [p for p in pairs if isinstance(p, Sequence) and len(p) == 2 and type(p[0]) is int and _is_number(p[1])]
        shots = [p[0] for p in good]
        if not good or len(good) < len(pairs) or shots != sorted(set(shots)):
            raise UserError(
                f"METHOD.ARGS.{name} is {list(pairs)}, which must be pairs of a number of shots and a value, in "
                "increasing order of shots, e.g. [[1, 0.7], [5, 0.3]]."
            )
        self._pairs = good

    def of(self, task: Task) -> float:
        """The value for a task; where shots are unequal, for its class with the fewest."""
        shot = task.shot or int(task.support_y[0].bincount(minlength=task.way).min())
        reached = [value for first, value in self._pairs if first <= shot]
        return float(reached[-1] if reached else self._pairs[0][1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
