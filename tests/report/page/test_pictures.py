import re

import numpy as np
import pytest

from core.pictures import ClassMatrix, ClassValues, Matches, grid_regions
from core.report.page.pictures import MOST_LINES, ShownTask, class_section, draw_matches, task_sections
from core.report.page.render import page

IMAGE = np.zeros((8, 8, 3), np.uint8)
REGIONS = grid_regions([2])


def matches(strength, **weights):
    return Matches("Matches", "A note.", strength, REGIONS, REGIONS, **weights)


def drawn(strength, **weights):
    return str(draw_matches(matches(strength[None, None], **weights), 0, 0, IMAGE, IMAGE))


def lines(svg):
    paths = re.findall(r'd="M(\S+) (\S+) Q\S+ \S+ (\S+) (\S+)" style="stroke:.*?;stroke-width:(.*?);', svg)
    return [tuple(map(float, line)) for line in paths]


def test_a_line_goes_from_region_to_region_and_is_as_thick_as_the_match_is_strong():
    strength = np.zeros((4, 4))
    strength[0, 3], strength[2, 1] = 1.0, 0.5
    assert lines(drawn(strength)) == [(50, 50, 410, 150, 3.0), (50, 150, 410, 50, 1.75)]


def test_of_many_matches_the_strongest_are_drawn():
    regions = grid_regions([12])
    strength = np.arange(144**2, dtype=float).reshape(144, 144)
    many = Matches("Matches", "", strength[None, None], regions, regions)
    svg = str(draw_matches(many, 0, 0, IMAGE, IMAGE))
    assert len(lines(svg)) == MOST_LINES
    assert lines(svg)[0][4] == 3.0


def test_a_region_that_weighs_little_is_pale():
    weight = np.array([1.0, 0.5, 0, 1])[None, None]
    svg = drawn(np.eye(4), query_weight=weight, support_weight=weight[..., ::-1])
    assert re.findall(r"fill-opacity:([\d.]+)", svg) == ["0.00", "0.30", "0.60", "0.00", "0.00", "0.60", "0.30", "0.00"]


def test_the_class_and_the_answer_are_shown_with_the_support_that_is_tied_most():
    task = ShownTask(["fox", "<b>"], [IMAGE] * 4, [0, 0, 1, 1], [IMAGE] * 2, [0, 1], [1, 1])
    strength = np.zeros((2, 4, 4, 4))
    strength[0, 1, 2, 2] = 1  # of the class of query 0, its second support
    (section,) = task_sections([matches(strength)], task)
    captions = [caption for caption, _ in section.values["charts"]]
    assert captions == [
        "fox (left) and fox (right): its class",
        "fox (left) and <b> (right): not its class, and the answer",
        "<b> (left) and <b> (right): its class, and the answer",
    ]
    assert [len(lines(str(svg))) for _, svg in section.values["charts"]] == [1, 0, 0]
    assert all('role="img" aria-label="' in str(svg) for _, svg in section.values["charts"])
    html = page("Pictures", [section])
    assert "&lt;b&gt; (left)" in html
    assert "A note." in html


def test_values_are_bars():
    html = page("Values", [class_section(ClassValues("Weights", "A note.", np.array([0.25, 1])), ["fox", "cat"])])
    assert "width:25.0%" in html
    assert "width:100.0%" in html


@pytest.mark.parametrize("classes", [3, 30])
def test_a_matrix_is_a_table(classes):
    values = np.arange(classes**2, dtype=float).reshape(classes, classes)
    names = [f"class{c}" for c in range(classes)]
    html = page("Matrix", [class_section(ClassMatrix("Margins", "A note.", values), names)])
    assert html.count('class="value"') == min(classes, 20) ** 2
    assert ("The first 20 of 30 classes." in html) == (classes == 30)
    assert ">1.00<" in html
    assert ">0.00<" not in html  # the diagonal
