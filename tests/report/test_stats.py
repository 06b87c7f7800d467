"""Student's t-interval."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.report.stats import Interval, t_interval


def of_std(std, n):
    """n values of mean 50 and the given standard deviation (n - 1 degrees of freedom)."""
    values = np.resize([1.0, -1.0], n)
    values -= values.mean()
    return 50 + values * std / values.std(ddof=1)


def test_t_of_599_degrees_of_freedom():
    assert t_interval(of_std(600**0.5, 600)).ci95 == pytest.approx(1.9639, abs=5e-5)


@pytest.mark.parametrize(("n", "half_width"), [(600, 0.80), (1000, 0.62), (2000, 0.44), (3000, 0.36), (10_000, 0.196)])
def test_half_widths_of_the_papers(n, half_width):
    interval = t_interval(of_std(10, n))
    assert interval.mean == pytest.approx(50)
    assert interval.std == pytest.approx(10)
    assert interval.ci95 == pytest.approx(half_width, abs=0.005 if n < 10_000 else 0.0005)


def test_two_episodes():
    interval = t_interval(np.array([40.0, 60.0]))
    assert interval.mean == 50
    assert interval.std == pytest.approx(math.sqrt(200))
    assert interval.ci95 == pytest.approx(12.706205 * 10, rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 599, 10_000])
def test_equals_scipy(n):
    accuracy = np.random.default_rng(n).normal(60, 9, n)
    low, high = stats.t.interval(0.95, n - 1, loc=accuracy.mean(), scale=stats.sem(accuracy))
    interval = t_interval(accuracy)
    assert (interval.mean - interval.ci95, interval.mean + interval.ci95) == pytest.approx((low, high), rel=1e-9)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_order_does_not_matter(values, rng):
    shuffled = values.copy()
    rng.shuffle(shuffled)
    one, other = t_interval(np.array(values)), t_interval(np.array(shuffled))
    assert (one.mean, one.std, one.ci95) == pytest.approx((other.mean, other.std, other.ci95), abs=1e-9)


def test_equal_episodes_have_no_interval():
    assert t_interval(np.full(7, 20.0)) == Interval(20.0, 0.0, 0.0)


def test_text():
    assert str(Interval(71.456, 9.0, 0.444)) == "71.46 ± 0.44 %"
