"""Counts from logits, against the obvious loops."""

import numpy as np
import pytest

from core.report.tally import Tally


def tallied(logits, truth, classes, n_classes, images=None):
    images = np.zeros_like(truth) if images is None else images
    tally = Tally(len(logits), logits.shape[-1], n_classes)
    for first in range(0, len(logits), 3):
        here = slice(first, first + 3)
        tally.add(logits[here], truth[here], classes[here], images[here])
    return tally.evaluation(truth.shape[1], {})


@pytest.mark.parametrize("ties", [False, True])
def test_counts(ties):
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 3, (7, 6, 4)).astype(np.float32) if ties else rng.normal(size=(7, 6, 4)).astype("f")
    truth, classes = rng.integers(0, 4, (7, 6)), rng.permuted(np.tile(np.arange(9), (7, 1)), axis=1)[:, :4]
    images = rng.permutation(7 * 6).reshape(7, 6)
    tally = tallied(logits, truth, classes, 9, images)
    order = np.argsort(-logits, axis=-1, kind="stable")
    assert np.array_equal(tally.correct, (order[..., 0] == truth).sum(1))
    assert np.array_equal(tally.top2, (order[..., :2] == truth[..., None]).any(-1).sum(1))
    assert np.array_equal(tally.classes, classes)
    confusion, examples = np.zeros((9, 9), dtype=int), np.full((9, 9), -1)
    for t, q in np.ndindex(7, 6):
        pair = classes[t, truth[t, q]], classes[t, order[t, q, 0]]
        confusion[pair] += 1
        examples[pair] = examples[pair] if examples[pair] >= 0 else images[t, q]
    assert np.array_equal(tally.confusion, confusion)
    assert np.array_equal(tally.examples, examples)


def test_calibration_error_by_hand():
    # Two classes, confidence 0.75 in eight queries of which half are right: off by 25 points.
    logits = np.zeros((1, 8, 2), dtype=np.float32)
    logits[..., 0] = np.log(3)
    truth = np.array([[0, 1] * 4])
    assert tallied(logits, truth, np.array([[0, 1]]), 2).ece == pytest.approx(25, abs=1e-4)
    certain = np.where(truth[..., None] == np.arange(2), 50, 0).astype(np.float32)
    assert tallied(certain, truth, np.array([[0, 1]]), 2).ece == pytest.approx(0, abs=1e-6)
