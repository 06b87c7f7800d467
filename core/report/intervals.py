"""Intervals that answer other questions than the customary one; docs/evaluation.md says which."""

from __future__ import annotations

from typing import Any

import numpy as np

from .stats import interval

RESAMPLES = 1000
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
    from scipy.special import stdtrit  # slow to import

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
    """Bootstrap over the split's C classes, from accuracies [n] in percent and the classes [n, N] of each episode.

    Class c shifts an episode by e_c = (mean of the episodes with c - mean of all) * (C - 1) / (C - N): the factor
    undoes that the other N - 1 classes of such an episode are drawn from those that are left. A resample in which
    c occurs w_c times has the mean: mean of all + N / C * sum_c w_c * e_c, to first order. None where an episode
    takes more than half of the classes, as their effects can hardly be told apart then.
    """
    way = classes.shape[1]
    if 2 * way > n_classes:
        return None
    seen = np.bincount(classes.ravel(), minlength=n_classes)
    total = np.bincount(classes.ravel(), np.repeat(accuracy, way), minlength=n_classes)
    mean = float(accuracy.mean())
    with_class = np.divide(total, seen, out=np.full(n_classes, mean), where=seen > 0)
    effect = (with_class - mean) * ((n_classes - 1) / (n_classes - way))
    drawn = np.random.default_rng(seed).integers(n_classes, size=(RESAMPLES, n_classes))
    means = mean + way * effect[drawn].mean(1)
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return {
        "label": "bootstrap over the classes of the split, 2.5 and 97.5 percentiles",
        "n": n_classes,
        "resamples": RESAMPLES,
        "mean": float(means.mean()),
        "low": low,
        "high": high,
        "ci95": (high - low) / 2,
    }
