"""Two runs on the same episodes: their difference, and whether it may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .stats import t_interval


@dataclass(frozen=True)
class Paired:
    """One run minus another, episode by episode, in percentage points."""

    difference: float
    ci95: float  # half-width of the 95 % t-interval of the mean difference
    p_t: float  # paired t-test, two-sided
    p_wilcoxon: float  # signed ranks, two-sided
    win: int  # episodes in which the first is better
    tie: int
    loss: int


def paired(one: np.ndarray, other: np.ndarray) -> Paired:
    """Compare accuracies [n] in percent of the same n episodes.

    With d_i the difference in episode i, the interval is mean(d) +- t(0.975, n - 1) * s(d) / sqrt(n), and the t-test is
    that of t = mean(d) * sqrt(n) / s(d). Wilcoxon's test ranks |d_i| and leaves out episodes without a difference.
    """
    from scipy.special import stdtr  # slow to import
    from scipy.stats import wilcoxon

    d = (one - other).round(9)  # a mean over seeds is not exact, and must not break ties
    interval = t_interval(d)
    error = interval.std / len(d) ** 0.5
    p_t = 2 * float(stdtr(len(d) - 1, -abs(interval.mean) / error)) if error else float(interval.mean == 0)
    p_wilcoxon = float(wilcoxon(d).pvalue) if d.any() else 1.0
    return Paired(
        interval.mean, interval.ci95, p_t, p_wilcoxon, int((d > 0).sum()), int((d == 0).sum()), int((d < 0).sum())
    )


def holm(p: Sequence[float]) -> list[float]:
    """The p-values, corrected for their number by Holm's step-down method."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected.tolist()
