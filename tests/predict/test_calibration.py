"""Lines and thresholds from reference episodes, against made episodes whose truth is known."""

import json
import math

import numpy as np
import pytest
import torch

from core.predict.calibration import SHARES, Calibration, Line, fit_line, rejection_levels, smoothed_logit
from tests.predict.test_trust import calibration


def made_episodes(number=4000, supports=30, queries=180, seed=0):
    """Tasks whose accuracy varies, and what was counted on their queries and on their held-out supports."""
    rng = np.random.default_rng(seed)
    truth = 1 / (1 + np.exp(-rng.normal(2.0, 0.6, number)))
    estimates = rng.binomial(supports, truth * 0.97) / supports
    seen = rng.binomial(queries, truth) / queries
    return torch.from_numpy(seen), torch.from_numpy(estimates)


def test_a_line_is_that_of_least_squares():
    seen, estimates = made_episodes(300)
    line = fit_line(seen, 180, estimates, 30)
    x = [smoothed_logit(value, 30) for value in estimates.tolist()]
    y = [smoothed_logit(value, 180) for value in seen.tolist()]
    slope, intercept = np.polyfit(x, y, 1)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept), rel=1e-6)
    residuals = np.array(y) - intercept - slope * np.array(x)
    assert (line.low, line.high) == pytest.approx(np.quantile(residuals, [0.025, 0.975]).tolist(), rel=1e-6)


def test_the_interval_covers_the_truth_of_other_episodes():
    others, of_others = made_episodes(2000, seed=1)
    line = fit_line(others, 180, of_others, 30)
    seen, estimates = made_episodes(2000, seed=2)
    covered = []
    for truth, correct in zip(seen.tolist(), estimates.tolist(), strict=True):
        middle, low, high = line.expected(correct, 30)
        assert low <= middle <= high
        covered.append(low <= truth <= high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_without_held_out_supports_the_line_is_flat():
    seen, _ = made_episodes(100)
    line = fit_line(seen, 180)
    assert line.slope == 0
    assert line.expected(0.0, 0) == line.expected(1.0, 0)
    assert line.intercept == pytest.approx(np.mean([smoothed_logit(value, 180) for value in seen.tolist()]))


def test_levels_leave_their_share_of_the_queries():
    rng = np.random.default_rng(0)
    place = rng.normal(0.5, 0.2, (500, 1))  # tasks differ
    queries = torch.from_numpy(place + rng.normal(0.0, 0.1, (500, 60)))
    supports = torch.from_numpy(place + rng.normal(-0.05, 0.1, (500, 12)))  # held out, they fit worse
    levels = rejection_levels(queries, supports)
    for share, level in zip(SHARES[1:], levels[1:], strict=True):
        rejected = (queries < supports.mean(1, keepdim=True) + level * supports.std(1, keepdim=True)).double().mean()
        assert float(rejected) == pytest.approx(share, abs=1e-3)
    assert levels == sorted(levels)
    flat = rejection_levels(queries, None)
    assert float((queries < flat[4]).double().mean()) == pytest.approx(0.1, abs=1e-3)


def test_a_share_between_two_is_between_their_levels():
    made = calibration()
    assert made.rejects_at(0.1) == pytest.approx(0.2)
    assert made.rejects_at(0.12) == pytest.approx(0.24)
    assert made.rejects_at(0.9) == made.rejection[-1]


def test_it_comes_back_from_json():
    made = calibration()
    assert Calibration.from_dict(json.loads(json.dumps(made.as_dict()))) == made


def test_a_logit_of_all_right_is_finite():
    assert smoothed_logit(1.0, 3) == pytest.approx(math.log(7))
    assert Line(0.0, 1.0, 0.0, 0.0).expected(0.5, 10)[0] == pytest.approx(0.5)
