"""What a method or an objective may show of its work: numbers, which a page draws without asking whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Matches:
    """How strongly regions of queries are tied to regions of supports; P regions of a query, R of a support.

    Regions are left, top, right and bottom in shares of the image's sides.
    """

    title: str
    note: str
    strength: np.ndarray  # [Q, n_s, P, R], 0 = not tied
    query_regions: np.ndarray  # [P, 4]
    support_regions: np.ndarray  # [R, 4]
    query_weight: np.ndarray | None = None  # [Q, n_s, P], how much a region counts
    support_weight: np.ndarray | None = None  # [Q, n_s, R]


@dataclass(frozen=True)
class ClassValues:
    """A number between 0 and 1 for each class of a task."""

    title: str
    note: str
    values: np.ndarray  # [N]


@dataclass(frozen=True)
class ClassMatrix:
    """A number for each pair of classes."""

    title: str
    note: str
    values: np.ndarray  # [N, N], rows are true classes


ClassPicture = ClassValues | ClassMatrix
Picture = Matches | ClassPicture


def grid_regions(sides: Sequence[int]) -> np.ndarray:
    """The cells of square maps of these sides over the whole image, map after map, row by row, [sum of side^2, 4]."""
    cells = []
    for side in sides:
        edges = np.linspace(0, 1, side + 1)
        cells += [[edges[x], edges[y], edges[x + 1], edges[y + 1]] for y in range(side) for x in range(side)]
    return np.array(cells)
