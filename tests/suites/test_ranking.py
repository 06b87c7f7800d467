"""Ranks of rows, and those that their paired intervals allow."""

import gzip

import numpy as np
import pytest

from core.report.compare import Spread
from core.suites.ranking import ranking
from core.suites.standings import against, standings


def ranked(folder):
    return [(each.row.name, each.rank, each.best, each.worst) for each in ranking(standings(folder)[0])]


def test_a_row_that_is_always_ahead_has_one_rank(collected):
    collected("ProtoNet_N5K1_C4", gain=8.0)
    collected("RFS_N5K1_C4", gain=4.0)
    folder = collected("NegMargin_N5K1_C4")
    assert ranked(folder) == [("ProtoNet", 1, 1, 1), ("RFS", 2, 2, 2), ("NegMargin", 3, 3, 3)]


def test_rows_that_chance_may_swap_share_their_ranks(collected):
    collected("RFS_N5K1_C4", gain=20.0)
    collected("ProtoNet_N5K1_C4", gain=1.0)
    folder = collected("NegMargin_N5K1_C4")
    (file,) = folder.glob("*NegMargin*/eval/*/*/episodes.csv.gz")
    header, *lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    columns = [line.split(",") for line in lines]
    shuffled = np.random.default_rng(0).permutation([row[1] for row in columns])  # other episodes are hard for it
    rows = [",".join([row[0], correct, *row[2:]]) for row, correct in zip(columns, shuffled, strict=True)]
    file.write_bytes(gzip.compress("\n".join([header, *rows, ""]).encode()))
    assert ranked(folder) == [("RFS", 1, 1, 1), ("ProtoNet", 2, 2, 3), ("NegMargin", 3, 2, 3)]


def test_a_row_alone_is_first(collected):
    rows, _ = standings(collected("RFS_N5K1_C4"))
    assert [(each.rank, each.best, each.worst) for each in ranking(rows)] == [(1, 1, 1)]


@pytest.mark.parametrize(
    ("wide", "ranks"),
    [
        (Spread(1.0, 0.5), [(1, 1, 1), (2, 2, 2)]),
        (Spread(0.4, 0.5), [(1, 1, 2), (2, 1, 2)]),
        (Spread(-1.0, 0.5), [(1, 1, 2), (2, 1, 2)]),  # behind on other tasks than those that rank it
    ],
)
def test_a_row_is_ahead_for_sure_by_the_interval_around_its_own_estimate(collected, monkeypatch, wide, ranks):
    collected("ProtoNet_N5K1_C4", gain=8.0)
    rows, _ = standings(collected("RFS_N5K1_C4"))
    pair, _ = against(*rows)
    monkeypatch.setattr("core.suites.ranking.against", lambda *_: (pair, wide))
    assert [(each.rank, each.best, each.worst) for each in ranking(rows)] == ranks
