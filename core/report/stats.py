"""Means and intervals over episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean, its standard deviation over episodes, and the half-width of its 95 % interval, in percent."""

    mean: float
    std: float
    ci95: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.ci95:.2f} %"


def t_interval(accuracy: np.ndarray) -> Interval:
    """Student's t over n episodes: mean ± t(0.975, n - 1) * s / sqrt(n), s with n - 1 degrees of freedom.

    It says how far the mean of n episodes may be from the mean of all episodes of this split, for these weights. It
    does not cover other test classes, nor another training seed.

    Args:
        accuracy: [n] in percent, n of 2 or more.
    """
    from scipy.special import stdtrit  # slow to import

    n = len(accuracy)
    std = float(np.std(accuracy, ddof=1))
    return Interval(float(np.mean(accuracy)), std, float(stdtrit(n - 1, 0.975)) * std / n**0.5)


def z_interval(accuracy: np.ndarray) -> Interval:
    """The formula of MAML, R2D2, FEAT and others: mean ± 1.96 * s / sqrt(n), s with n degrees of freedom."""
    std = float(np.std(accuracy))
    return Interval(float(np.mean(accuracy)), std, 1.96 * std / len(accuracy) ** 0.5)


FORMULAS = {"t_ddof1": t_interval, "z_ddof0": z_interval}


def interval(accuracy: np.ndarray, formula: str = "t_ddof1") -> Interval:
    """Mean and 95 % interval over episodes by one of FORMULAS."""
    return FORMULAS[formula](accuracy)
