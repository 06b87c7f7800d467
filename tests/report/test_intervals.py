"""The intervals beside the customary one."""

import numpy as np
import pytest
from scipy import stats

from core.report.intervals import of_classes, of_disjoint, of_episodes
from core.report.stats import interval, t_interval


def drawn(n, n_classes, way, rng):
    return np.argsort(rng.random((n, n_classes)), axis=1)[:, :way]


def test_legacy_formula():
    accuracy = np.array([40.0, 60.0, 80.0, 80.0])
    entry = of_episodes(accuracy, "z_ddof0")
    assert entry["ci95"] == pytest.approx(1.96 * accuracy.std() / 2)
    assert "1.96" in entry["label"]
    assert interval(accuracy).ci95 == t_interval(accuracy).ci95 > entry["ci95"]


def test_one_partition_is_a_t_interval_and_more_of_them_do_not_shrink_it():
    accuracy = np.random.default_rng(0).normal(60, 9, 150)
    alone, thrice = of_disjoint(accuracy, 150), of_disjoint(np.tile(accuracy, 3), 150)
    assert (alone["mean"], alone["ci95"]) == pytest.approx((t_interval(accuracy).mean, t_interval(accuracy).ci95))
    assert thrice["ci95"] == pytest.approx(alone["ci95"])
    assert (alone["n"], alone["partitions"], thrice["n"], thrice["partitions"]) == (150, 1, 150, 3)


def test_classes_that_do_not_matter_leave_a_narrow_interval():
    rng = np.random.default_rng(0)
    classes = drawn(4000, 20, 5, rng)
    same = of_classes(rng.normal(60, 9, 4000), classes, 20, 0)
    assert same["mean"] == pytest.approx(60, abs=0.5)
    assert same["ci95"] < 1
    hard = rng.normal(0, 10, 20)
    varied = of_classes(60 + hard[classes].mean(1), classes, 20, 0)
    assert varied["low"] < 60 + hard.mean() < varied["high"]
    # An episode's accuracy is the mean of its classes' here: the interval must be that of a mean of 20 classes.
    assert varied["ci95"] == pytest.approx(1.96 * hard.std() / 20**0.5, rel=0.1)


def test_class_bootstrap_repeats_and_is_left_out_where_it_cannot_work():
    rng = np.random.default_rng(0)
    classes, accuracy = drawn(300, 8, 4, rng), rng.random(300) * 100
    assert of_classes(accuracy, classes, 8, 3) == of_classes(accuracy, classes, 8, 3)
    assert of_classes(accuracy, classes, 8, 3) != of_classes(accuracy, classes, 8, 4)
    assert of_classes(accuracy, drawn(300, 8, 5, rng), 8, 3) is None


def test_disjoint_interval_covers_the_mean_of_new_images():
    # Tasks that share nothing are independent, so the interval covers as often as it says.
    rng = np.random.default_rng(1)
    covered = [abs(f["mean"] - 60) < f["ci95"] for f in (of_disjoint(rng.normal(60, 9, 60), 60) for _ in range(400))]
    assert stats.binomtest(sum(covered), 400, 0.95).pvalue > 1e-3
