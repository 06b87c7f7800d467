"""The table of low-shot trials, and their means, from shares written by hand."""

import csv
import io

import numpy as np
import pytest

from core.report.trials import COLUMNS, Trials


def test_means_and_table():
    shares = np.arange(24.0).reshape(2, 6, 2)
    trials = Trials(shares)
    figures = trials.figures("t_ddof1")
    assert figures["novel"]["top1"]["mean"] == pytest.approx((0 + 12) / 2)
    assert figures["prior"]["top5"]["mean"] == pytest.approx((11 + 23) / 2)
    assert figures["novel"]["top1"]["ci95"] == pytest.approx(12.706 * 6, rel=1e-3)  # two trials, 12 apart
    first, second = csv.DictReader(io.StringIO(trials.csv()))
    assert list(first) == ["trial", *COLUMNS]
    assert (first["base_top1"], second["all_top5"]) == ("2.0000", "21.0000")
