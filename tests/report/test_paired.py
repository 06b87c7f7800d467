"""Paired comparison of accuracies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.report.paired import holm, paired


@pytest.mark.parametrize("n", [5, 40, 2000])
def test_equals_scipy(n):
    rng = np.random.default_rng(n)
    one, other = rng.integers(0, 76, (2, n)) * (100 / 75)
    comparison = paired(one, other)
    test = stats.ttest_rel(one, other)
    interval = test.confidence_interval(0.95)
    low, high = comparison.difference - comparison.ci95, comparison.difference + comparison.ci95
    assert (low, high) == pytest.approx((interval.low, interval.high))
    assert comparison.p_t == pytest.approx(test.pvalue)
    assert comparison.p_wilcoxon == pytest.approx(stats.wilcoxon((one - other).round(9)).pvalue)
    assert (comparison.win, comparison.tie, comparison.loss) == tuple(
        (np.sign(one - other) == s).sum() for s in (1, 0, -1)
    )


def test_the_same_run_does_not_differ():
    accuracy = np.array([40.0, 60.0, 80.0])
    comparison = paired(accuracy, accuracy)
    assert (comparison.difference, comparison.ci95, comparison.p_t, comparison.p_wilcoxon) == (0, 0, 1, 1)
    assert (comparison.win, comparison.tie, comparison.loss) == (0, 3, 0)


def test_always_the_same_gain_is_certain():
    accuracy = np.array([40.0, 60.0, 80.0])
    assert paired(accuracy + 20, accuracy).p_t == 0


def test_small_gap_is_found_where_unpaired_intervals_overlap():
    rng = np.random.default_rng(0)
    hardness = rng.normal(60, 9, 1000)
    one, other = (hardness + gap + rng.normal(0, 2, 1000) for gap in (0.45, 0))
    comparison = paired(one, other)
    unpaired = 1.96 * 9 / 1000**0.5
    assert unpaired > comparison.difference > comparison.ci95 > 0
    assert comparison.p_t < 0.001


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1, 1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_helps(p):
    corrected_p = holm(p)
    assert all(1 >= c >= one for c, one in zip(corrected_p, p, strict=True))
    assert np.all(np.diff(np.array(corrected_p)[np.argsort(p, kind="stable")]) >= 0)
