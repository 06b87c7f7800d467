"""Uneven episodes through the commands."""

import csv
import json

import pytest


def test_uneven_shots_and_a_total_of_queries(space, trained):
    cfg, run = trained
    found = space.evaluate(cfg, run / "ebest_3way_1shot.pth", "TASK.TEST.SHOTS=[1, 3, 2]", "TASK.TEST.QUERIES=10")
    result = json.loads((found / "result.json").read_text())
    assert (result["shot"], result["query"], result["queries"]) == ("1+3+2", "10all", 10)
    assert result["intervals"]["disjoint"] is None
    assert found.name.startswith("test_3w1+3+2s_q10all_seed0_")
    rows = list(csv.DictReader((found / "episodes.csv").read_text().splitlines()))
    assert {row["queries"] for row in rows} == {"10"}
    assert sum(int(row["correct"]) for row in rows) / len(rows) * 10 == pytest.approx(result["mean"])


def test_every_class_of_the_split(space, trained):
    cfg, run = trained
    found = space.evaluate(cfg, run / "ebest_3way_1shot.pth", "TASK.TEST.WAY=6")
    assert json.loads((found / "result.json").read_text())["way"] == 6
