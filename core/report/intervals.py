"""The customary interval over episodes, and two that answer other questions; docs/evaluation.md explains them."""

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
    over_episodes = interval(accuracy, formula)
    return {"label": LABELS[formula], "n": len(accuracy), "mean": over_episodes.mean, "ci95": over_episodes.ci95}


def of_disjoint(accuracy: np.ndarray, tasks: int) -> dict[str, Any]:
    """The interval over tasks that share no image, from accuracies [partitions * tasks] in percent.

    The tasks of one partition stand together. All partitions deal out the same images, so they are averaged, and n is
    the number of tasks of one partition: mean over all +- t(0.975, n - 1) * s / sqrt(n), with s^2 the mean over
    partitions of the variance within each.
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

    Class c shifts the accuracy of an episode by e_c = (mean of the episodes with c - mean of all) * (C - 1) / (C - N).
    The factor is needed because the other N - 1 classes of an episode with c are drawn from the classes without c. To
    first order, a resample in which c occurs w_c times has the mean: mean of all + N / C * sum_c w_c * e_c.

    Returns None where an episode takes more than half of the classes: their effects can hardly be told apart then.
    """
    way = classes.shape[1]
    if 2 * way > n_classes:
        return None
    occurrences = np.bincount(classes.ravel(), minlength=n_classes)
    total = np.bincount(classes.ravel(), np.repeat(accuracy, way), minlength=n_classes)
    mean = float(accuracy.mean())
    with_class = np.divide(total, occurrences, out=np.full(n_classes, mean), where=occurrences > 0)
    effect = (with_class - mean) * ((n_classes - 1) / (n_classes - way))
    resamples = np.random.default_rng(seed).integers(n_classes, size=(RESAMPLES, n_classes))
    means = mean + way * effect[resamples].mean(1)
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return {
        "label": "bootstrap over the classes of the split, 2.5 and 97.5 percentiles",
        "n": n_classes,
        "resamples": RESAMPLES,
        "mean": mean,
        "low": low,
        "high": high,
        "ci95": (high - low) / 2,
    }
