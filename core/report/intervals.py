"""Intervals that answer other questions than the customary one; docs/evaluation.md says which."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import stdtrit

from core.report.stats import interval

RESAMPLES = 1000
AT_ONCE = 4096  # episodes
LABELS = {
    "t_ddof1": "episodes drawn with replacement, Student's t, n - 1 degrees of freedom",
    "z_ddof0": "episodes drawn with replacement, 1.96 standard deviations of n degrees of freedom",
}


def of_episodes(accuracy: np.ndarray, formula: str) -> dict[str, Any]:
    """The customary interval, from accuracies [n] in percent."""
    found = interval(accuracy, formula)
    return {"label": LABELS[formula], "n": len(accuracy), "mean": found.mean, "ci95": found.ci95}


def of_disjoint(accuracy: np.ndarray, tasks: int) -> dict[str, Any]:
    """Over tasks that share no image, from accuracies [partitions * tasks] in percent, partition by partition.

    Partitions deal out the same images, so they are averaged and n stays the number of tasks of one partition:
    mean over all +- t(0.975, n - 1) * s / sqrt(n), s^2 the mean over partitions of the variance within each.
    """
    parts = accuracy.reshape(-1, tasks)
    std = float(parts.var(axis=1, ddof=1).mean()) ** 0.5
    return {
        "label": "tasks that share no image, Student's t, averaged over random partitions of the split",
        "n": tasks,
        "partitions": len(parts),
        "mean": float(parts.mean()),
        "ci95": float(stdtrit(tasks - 1, 0.975)) * std / tasks**0.5,
    }


def of_classes(accuracy: np.ndarray, classes: np.ndarray, n_classes: int, seed: int) -> dict[str, Any] | None:
    """Bootstrap over the split's classes, from accuracies [n] in percent and the classes [n, N] of each episode.

    In a resample class c occurs w_c times; an episode counts with the product of w_c over its classes, as it would
    occur among all episodes of the resampled classes. None where an episode needs more than half of the classes:
    too few episodes would survive a resample.
    """
    way = classes.shape[1]
    if 2 * way > n_classes:
        return None
    drawn = np.random.default_rng(seed).integers(n_classes, size=(RESAMPLES, n_classes))
    counts = np.stack([np.bincount(row, minlength=n_classes) for row in drawn])
    logs = np.where(counts > 0, np.log(np.maximum(counts, 1)), -1e4).astype(np.float32)
    weight, total = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for first in range(0, len(accuracy), AT_ONCE):
        here = slice(first, first + AT_ONCE)
        member = np.zeros((n_classes, len(accuracy[here])), dtype=np.float32)
        member[classes[here].T, np.arange(member.shape[1])] = 1
        weights = np.exp(logs @ member)
        weight += weights.sum(1, dtype=np.float64)
        total += weights @ accuracy[here]
    means = total[weight > 0] / weight[weight > 0]
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return {
        "label": "bootstrap over the classes of the split, 2.5 and 97.5 percentiles",
        "n": n_classes,
        "resamples": len(means),
        "mean": float(means.mean()),
        "low": low,
        "high": high,
        "ci95": (high - low) / 2,
    }
