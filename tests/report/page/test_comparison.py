"""The page of run_compare.py: its figures are those of the tables."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from core.report.compare import Comparison, Group, Spread
from core.report.page.comparison import comparison_sections, verdict
from core.report.paired import paired


def test_a_page_shows_the_differences_of_the_tables(run, space, tmp_path):
    runs, page = [run("A"), run("B", 0.8), run("C", -0.5)], tmp_path / "comparison.html"
    code, out, err = space.script("run_compare.py", *runs, "--format", "csv", "--page", page)
    assert (code, err) == (0, f"page  {page}\n")
    html = page.read_text()
    rows = list(csv.DictReader(io.StringIO(out)))
    for row in rows:
        assert f"{row['run']} against {row['against']}" in html
        assert f"{row['win']} won, {row['tie']} tied, {row['loss']} lost" in html
        low, high = (float(row["difference"]) + sign * float(row["difference_ci95"]) for sign in (-1, 1))
        assert f"{float(row['difference']):.2f} ({low:.2f} to {high:.2f})" in html
    assert "no difference: 0.00" in html
    episodes = [int(n) for n in re.findall(r"<title>(\d+) episodes at", html)]
    assert sum(episodes) == 50 * len(rows)


def test_runs_that_cannot_be_compared_have_their_accuracies(run, space, tmp_path):
    page = tmp_path / "comparison.html"
    one = "METHOD: {NAME: A}\nSEED: "
    runs = [run("A", config=f"{one}0\n"), run("AB", 0.3, config=f"{one}1\n", training_seed=1)]
    assert space.script("run_compare.py", *runs, "--page", page)[0] == 0
    html = page.read_text()
    assert "A (2 seeds)" in html
    assert "Who is better?" not in html


@pytest.mark.parametrize(
    ("shift", "disjoint", "said"),
    [
        (0.1, None, "+0.10 points, which may be chance"),
        (5.0, None, "5.00 points better on these images."),
        (-5.0, Spread(-4.0, 1.0), "5.00 points worse on these images. The interval that allows for other images"),
        (-5.0, Spread(-4.0, 1.0), "says the same."),
        (5.0, Spread(-4.0, 1.0), "says the opposite."),
        (5.0, Spread(2.0, 3.0), "With other images of these classes it might turn"),
    ],
)
def test_verdict(shift, disjoint, said):
    other = np.tile([40.0, 60.0], 50)
    noise = np.repeat([-2.0, 2.0], 50)
    one = other + shift + noise
    groups = [Group(name, "M", False, "", accuracy, [1.0], None) for name, accuracy in (("one", one), ("other", other))]
    assert said in verdict(Comparison("a setting", *groups, paired(one, other), disjoint, holm_t=0.001))


def test_verdict_of_many_comparisons():
    one, other = np.tile([42.0, 62.0, 38.0], 50), np.tile([40.0, 60.0, 40.0], 50)
    groups = [Group(name, "M", False, "", accuracy, [1.0], None) for name, accuracy in (("one", one), ("other", other))]
    alone = Comparison("a setting", *groups, paired(one, other), None, holm_t=0.04)
    assert verdict(alone) == "0.67 points better on these images."
    assert "may be chance: p = 0.40 after Holm's correction" in verdict(replace(alone, holm_t=0.4))


def test_names_are_escaped(run, space, tmp_path):
    from core.report.compare import compare
    from core.report.page.render import page

    (table,) = compare([run("A"), run("B", 0.8)])
    hostile = [replace(group, name="<script>") for group in next(iter(table.settings.values()))]
    comparisons = [replace(c, one=hostile[1], other=hostile[0]) for c in table.comparisons]
    html = page("Comparison", comparison_sections([replace(table, settings={"<i>": hostile}, comparisons=comparisons)]))
    assert "<script>" not in html
    assert "<i>" not in html
