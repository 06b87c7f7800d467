"""Figures of tables."""

import pytest
from matplotlib.figure import Figure

from core.report.plots import Panel, plot_table


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
