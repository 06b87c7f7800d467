"""The rank of each row of a suite among those that were asked the same, and the ranks that chance allows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from .standings import Row, against


@dataclass(frozen=True)
class Ranked:
    """A row among others on the same episodes; rank 1 has the highest accuracy."""

    row: Row
    rank: int  # by the mean accuracy
    best: int  # one more than the rows that are ahead for sure
    worst: int  # the number of rows less those that are behind for sure


def ranking(rows: Sequence[Row]) -> list[Ranked]:
    """The ranks of rows, the best row first.

    A row is ahead of another one for sure where the 95 % interval of their paired difference is above 0: that over
    tasks which share no image, or over episodes where there are no such tasks. Nothing is corrected for the number of
    pairs.

    Raises:
        UserError: where rows were not tested on the same episodes.
    """
    ordered = sorted(rows, key=lambda row: -row.group.episodes.mean)
    ahead, behind = [0] * len(ordered), [0] * len(ordered)
    for first, second in combinations(range(len(ordered)), 2):
        pair, wide = against(ordered[first], ordered[second])
        if abs(pair.difference) > (pair.ci95 if wide is None else wide):
            winner, loser = (first, second) if pair.difference > 0 else (second, first)
            ahead[loser] += 1
            behind[winner] += 1
    count = len(ordered)
    return [Ranked(row, i + 1, 1 + ahead[i], count - behind[i]) for i, row in enumerate(ordered)]
