"""Trials of ImageNet low-shot: shares of right answers, their means and their table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .stats import interval

FIGURES = ("novel", "base", "novel_all", "base_all", "all", "prior")
TOPS = (1, 5)
COLUMNS = [f"{figure}_top{top}" for figure in FIGURES for top in TOPS]


@dataclass(frozen=True)
class Trials:
    """Shares of images whose class is the likeliest, or among the five likeliest.

    novel, base          each kind of image among its own kind of classes
    novel_all, base_all  each kind among all classes
    all                  all images among all classes
    prior                the same, with softmax over the novel classes times mu, over the base classes times 1 - mu
    """

    shares: np.ndarray  # [trials, 6, 2] percent: FIGURES by TOPS

    def figures(self, formula: str) -> dict[str, Any]:
        """Means with their 95 % intervals over trials."""
        columns = self.shares.reshape(len(self.shares), -1).T
        intervals = [interval(column, formula) for column in columns]
        pairs = {name: {"mean": i.mean, "ci95": i.ci95} for name, i in zip(COLUMNS, intervals, strict=True)}
        return {figure: {f"top{top}": pairs[f"{figure}_top{top}"] for top in TOPS} for figure in FIGURES}

    def csv(self) -> str:
        """One line a trial."""
        rows = self.shares.reshape(len(self.shares), -1).tolist()
        lines = [",".join([str(i), *(f"{value:.4f}" for value in row)]) + "\n" for i, row in enumerate(rows)]
        return ",".join(["trial", *COLUMNS]) + "\n" + "".join(lines)
