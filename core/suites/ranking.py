"""The rank of each row of a suite among those that were asked the same, and the ranks that chance allows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from .standings import Row, against


@dataclass(frozen=True)
class Ranked:
    """A row among others; rank 1 has the highest accuracy."""

    row: Row
    rank: int  # one more than the rows that are ahead
    best: int  # one more than the rows that are ahead for sure
    worst: int  # the number of rows less those that are behind for sure


def ranking(rows: Sequence[Row]) -> list[Ranked]:
    """The ranks of rows, the best first.

    Two rows are compared on the episodes that both have. The one that is ahead is so for sure where the 95 % interval
    of the difference over tasks which share no image is above 0, or that over episodes where there are no such tasks.
    Nothing is corrected for the number of pairs.

    Raises:
        UserError: where rows were not tested on the same episodes.
    """
    ahead, ahead_for_sure, behind_for_sure = ([0] * len(rows) for _ in range(3))
    for first, second in combinations(range(len(rows)), 2):
        pair, wide = against(rows[first], rows[second])
        sign, winner, loser = (1, first, second) if pair.difference > 0 else (-1, second, first)
        ahead[loser] += pair.difference != 0
        mean, ci95 = (pair.difference, pair.ci95) if wide is None else wide
        if sign * mean > ci95:
            ahead_for_sure[loser] += 1
            behind_for_sure[winner] += 1
    ranks = [
        Ranked(row, 1 + ahead[i], 1 + ahead_for_sure[i], len(rows) - behind_for_sure[i]) for i, row in enumerate(rows)
    ]
    return sorted(ranks, key=lambda each: each.rank)
