"""Charts are well-formed SVG whose marks stand where the numbers say."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from core.report.page import charts
from core.report.page.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, Span

HOSTILE = '<b onclick="1">&'
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


def parsed(chart):
    return ElementTree.fromstring(f"<div>{chart}</div>")


def marks(chart, tag, kind=""):
    return [e for e in parsed(chart).iter(tag) if kind in e.get("class", "")]


def points(chart):
    return [[tuple(map(float, p.split(","))) for p in e.get("points").split()] for e in marks(chart, "polyline")]


def test_lines_span_the_axes():
    chart = charts.lines([Line("one", [0, 10], [0, 100]), Line("two", [0, 5], [50, 50])], "epoch", "%")
    one, two = points(chart)
    assert one == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    assert two == [(LEFT, middle), ((LEFT + WIDTH - RIGHT) / 2, middle)]
    assert [e.text for e in parsed(chart).iter("span")] == [None, None]
    assert "".join(parsed(chart).itertext()).endswith("onetwo")


def test_a_band_lies_around_its_line():
    chart = charts.lines([Line("val", [0, 1], [50, 50], [50, 50])], "x", "y")
    (band,) = marks(chart, "polygon")
    heights = [float(p.split(",")[1]) for p in band.get("points").split()]
    assert heights == [TOP, TOP, HEIGHT - BOTTOM, HEIGHT - BOTTOM]


@pytest.mark.parametrize("queries", [1, 7, 30, 75, 1000])
def test_a_histogram_counts_every_value_once(queries):
    correct = np.random.default_rng(0).integers(0, queries + 1, 500)
    chart = charts.histogram(correct * (100 / queries), 100 / queries, "x", "y", 50.0)
    bars = marks(chart, "rect")
    assert len(bars) <= 40
    assert sum(int(bar.find("title").text.split()[0]) for bar in bars) == 500


def test_bins_hold_equally_many_multiples():
    chart = charts.histogram(np.arange(76) * (100 / 75), 100 / 75, "x", "y", 50.0)
    assert {bar.find("title").text.split()[0] for bar in marks(chart, "rect")} == {"2"}


def test_intervals_have_a_row_each():
    rows = [Span("mine", 50, 40, 60), Span("published", 70)]
    chart = charts.intervals(rows, "%", [("chance", 20)])
    mine, published = (float(e.get("cx")) for e in marks(chart, "circle"))
    (whisker,) = marks(chart, "line", "whisker")
    assert float(whisker.get("x1")) < mine < float(whisker.get("x2")) < published
    line, again = marks(chart, "line", "dashed")  # in each of the two strips
    assert line.get("x1") == again.get("x1")
    assert float(line.get("x1")) < float(whisker.get("x1"))
    assert line.find("title").text == "chance: 20.00"


@pytest.mark.parametrize(
    "chart",
    [
        charts.lines([Line(HOSTILE, [1], [2]), Line(HOSTILE, [1], [2])], HOSTILE, HOSTILE),
        charts.histogram(np.array([1.0]), 1.0, HOSTILE, HOSTILE, 1.0),
        charts.intervals([Span(HOSTILE, 1.0)], HOSTILE, [(HOSTILE, 2.0)]),
        charts.drawing(charts.scatter(np.zeros(1), np.zeros(1), [HOSTILE], [0], HOSTILE, HOSTILE)[0], HOSTILE, 9),
    ],
)
def test_texts_are_escaped_and_each_drawing_has_a_name(chart):
    for drawn in parsed(chart).iter("svg"):
        assert drawn.get("role") == "img"
        assert HOSTILE in drawn.get("aria-label")
    assert isinstance(chart, Markup)
    assert "<b" not in str(chart)
    assert HOSTILE in " ".join(parsed(chart).itertext())


@pytest.mark.parametrize("value", [0.001, -0.001, 0.5])
def test_a_small_constant_is_not_drawn_at_zero(value):
    ticks = charts.ticks(value, value)
    assert ticks[0] <= value <= ticks[-1]
    assert ticks[-1] - ticks[0] <= 2 * abs(value)


@given(NUMBERS, NUMBERS)
def test_ticks_cover_the_range_in_a_few_equal_steps(a, b):
    low, high = min(a, b), max(a, b)
    ticks = charts.ticks(low, high)
    step = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= high - 1e-6 * step
    assert 2 <= len(ticks) <= 9
    assert np.allclose(np.diff(ticks), step)
