"""Figures of generalized episodes against loops written from their definitions."""

from itertools import pairwise

import numpy as np
import pytest

from core.protocols.generalized import JointCounts


def made(episodes=40, queries=6, base_queries=5, seed=0, step=None):
    rng = np.random.default_rng(seed)
    leads = rng.normal(0.3, 1, (episodes, queries)), rng.normal(-0.3, 1, (episodes, base_queries))
    if step:
        leads = tuple(np.round(lead / step) * step for lead in leads)
    return JointCounts(
        rng.random((episodes, queries)) < 0.7, leads[0], rng.random((episodes, base_queries)) < 0.8, leads[1]
    )


def test_accuracies_are_counted_in_each_space():
    joint = made()
    found = joint.figures("t_ddof1")
    own, joined, both = [], [], []
    for e in range(40):
        right = [joint.novel_hit[e, q] and joint.novel_lead[e, q] > 0 for q in range(6)]
        base_right = [joint.base_hit[e, q] and joint.base_lead[e, q] <= 0 for q in range(5)]
        own.append(100 * sum(joint.novel_hit[e]) / 6)
        joined.append(100 * sum(right) / 6)
        both.append(100 * (sum(right) + sum(base_right)) / 11)
    assert found["novel"]["mean"] == pytest.approx(np.mean(own))
    assert found["novel_joint"]["mean"] == pytest.approx(np.mean(joined))
    assert found["both"]["mean"] == pytest.approx(np.mean(both))
    drops = [found[f"{kind}_joint"]["mean"] - found[kind]["mean"] for kind in ("novel", "base")]
    assert found["delta"]["mean"] == pytest.approx(sum(drops) / 2)
    u, s = found["novel_joint"]["mean"], found["base_joint"]["mean"]
    assert found["hmean"] == pytest.approx(2 * u * s / (u + s))


@pytest.mark.parametrize("step", [None, 0.5])
def test_ausuc_is_the_area_under_the_curve_over_all_biases(step):
    joint = made(step=step)
    thresholds = np.unique(np.concatenate([joint.novel_lead.ravel(), joint.base_lead.ravel()]))
    curve = [(joint.novel_hit.mean(), 0.0)]
    for bias in thresholds:
        novel = (joint.novel_hit & (joint.novel_lead > bias)).mean()
        base = (joint.base_hit & (joint.base_lead <= bias)).mean()
        curve.append((novel, base))
    area = sum((y1 - y0) * (x0 + x1) / 2 for (x0, y0), (x1, y1) in pairwise(curve))
    assert joint.ausuc() == pytest.approx(area)


def test_a_perfect_method_has_full_area_and_a_blind_one_none():
    hits = np.ones((3, 4), bool)
    assert JointCounts(hits, np.full((3, 4), 2.0), hits, np.full((3, 4), -1.0)).ausuc() == 1
    assert JointCounts(hits, np.full((3, 4), -1.0), hits, np.full((3, 4), 2.0)).ausuc() == 0
    assert JointCounts(hits, np.zeros((3, 4)), hits, np.zeros((3, 4))).ausuc() == 0.5
