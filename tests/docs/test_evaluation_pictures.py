"""The pictures of docs/evaluation.md are of the run that they name, small, and say its numbers."""

import make_evaluation_pictures as pictures
import pytest

from core.report import evaluations
from core.report.paired import paired
from tests.docs.walk import ROOT


@pytest.fixture(scope="module")
def runs():
    return evaluations.read(pictures.A), evaluations.read(pictures.B)


def test_the_pictures_are_up_to_date(runs):
    document = (ROOT / "docs/evaluation.md").read_text()
    for name in ("evaluation_intervals.svg", "evaluation_pairing.svg"):
        picture = (pictures.IMAGES / name).read_text()
        assert f"images/{name}" in document
        assert pictures.note(runs[0]) in picture, f"{name} is stale; run `make results`"
        assert len(picture) < 100_000


def test_the_intervals_are_those_of_the_result(runs, tmp_path):
    pictures.draw_intervals(runs[0], tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    intervals = runs[0].result["intervals"]
    assert f"<!-- {intervals['classes']['low']:.1f} to {intervals['classes']['high']:.1f} -->" in drawn
    mean, ci95 = runs[0].result["mean"], runs[0].result["ci95"]
    assert f"<!-- {mean - ci95:.1f} to {mean + ci95:.1f} -->" in drawn
    assert "<!-- 5000 episodes -->" in drawn


def test_the_difference_is_that_of_the_comparison(runs, tmp_path):
    pictures.draw_pairing(*runs, tmp_path / "b.svg")
    difference = paired(*(run.accuracy for run in runs))
    assert difference.difference > difference.ci95 > 0
    said = f"<!-- the same episodes: +{difference.difference:.2f} ± {difference.ci95:.2f} -->"
    assert said in (tmp_path / "b.svg").read_text()
