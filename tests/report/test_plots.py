"""Figures of tables."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from core.report.plots import (
    Difference,
    Panel,
    Point,
    Rank,
    label_points,
    plot_differences,
    plot_points,
    plot_ranks,
    plot_table,
)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: figures.append(figure) or save(figure, *a, **k))
    return figures


def test_columns_are_drawn_in_order_and_empty_ones_are_left_out(tmp_path, drawn):
    table, figure = tmp_path / "t.csv", tmp_path / "t.png"
    table.write_text("x,a,b,half\n2,5,,0.5\n1,4,7,0.25\n3,6,8,1\n")
    panels = [Panel("of a", "a", "half"), Panel("of b", "b"), Panel("none", "none"), Panel("of x", "x")]
    plot_table(table, figure, "x", "the label", panels)
    assert figure.read_bytes().startswith(b"\x89PNG")
    axes = drawn[0].axes
    assert [ax.get_title() for ax in axes] == ["of a", "of x"]
    assert axes[0].lines[0].get_xydata().tolist() == [[1, 4], [2, 5], [3, 6]]
    assert axes[0].get_xlabel() == "the label"


def test_points_and_differences_are_drawn_with_their_intervals(tmp_path, drawn):
    points = {
        "1-shot": [Point("A", 3.0, 50.0, 0.5), Point("B", 4.0, 60.0, 0.25)],
        "5-shot": [Point("A", 3.0, 70.0, 1.0)],
    }
    plot_points(tmp_path / "a.svg", points, "minutes", "accuracy", "note of a")
    rows = [Difference("A", 1.0, 0.25, (0.875, 0.75)), Difference("B", -2.0, 0.5, None)]
    plot_differences(tmp_path / "b.svg", {"1-shot": rows}, "points", "note of b")
    first, second = drawn
    assert [text.get_text() for text in first.axes[0].texts] == ["B", "A"]  # from the top
    assert [line.get_xydata().tolist() for line in first.axes[1].lines[:1]] == [[[3, 70]]]
    assert [label.get_text() for label in second.axes[0].get_yticklabels()] == ["A", "B"]
    spans = [bar.get_segments()[0][:, 0].tolist() for bar in second.axes[0].collections]
    assert spans == [[0.75, 1.25], [0.125, 1.625], [-2.5, -1.5]]
    text = (tmp_path / "b.svg").read_text()
    assert "note of b" in text
    plot_differences(tmp_path / "b.svg", {"1-shot": rows}, "points", "note of b")
    assert (tmp_path / "b.svg").read_text() == text


def test_ranks_stand_in_the_order_of_their_mean_with_what_is_possible(tmp_path, drawn):
    panels = {
        "1": [Rank("A", 1, 1, 2), Rank("B", 2, 1, 2)],
        "5": [Rank("B", 1, 1, 1), Rank("C", 2, 2, 3), Rank("A", 3, 2, 3)],
    }
    plot_ranks(tmp_path / "c.svg", panels, "note of c")
    one, five = drawn[0].axes
    assert [label.get_text() for label in one.get_yticklabels()] == ["B", "A", "C"]
    spans = [bar.get_segments()[0][:, 0].tolist() for bar in five.collections]
    assert spans == [[1, 1], [2, 3], [2, 3]]
    assert [line.get_xydata().tolist()[0] for line in five.lines] == [[1, 0], [2, -2], [3, -1]]
    assert "note of c" in (tmp_path / "c.svg").read_text()


def test_labels_of_close_points_cover_neither_each_other_nor_points():
    places = [(8, 55.2), (10, 55.1), (10.8, 54.7), (12, 53.6), (35, 54.6), (35, 54.5), (4, 40), (18, 54.4)]
    points = [Point(f"method number {n}", x, y, 0.3) for n, (x, y) in enumerate(places)]
    canvas = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = canvas.subplots()
    for point in points:
        axes.errorbar(point.x, point.y, point.error, marker="o")
    axes.margins(x=0.2, y=0.08)
    renderer = FigureCanvasAgg(canvas).get_renderer()
    canvas.draw_without_rendering()
    label_points(axes, points, renderer)
    boxes = [text.get_window_extent(renderer).padded(-1) for text in axes.texts]
    assert len(boxes) == len(points)
    for number, box in enumerate(boxes):
        assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1
        assert box.count_overlaps(boxes[:number]) == 0
        assert not any(box.contains(*axes.transData.transform((point.x, point.y))) for point in points)
