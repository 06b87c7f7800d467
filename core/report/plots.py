"""Draw figures from tables on disk."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from ..files import write_file


@dataclass(frozen=True)
class Panel:
    """One set of axes: a column of the table against column `x`."""

    title: str
    y: str  # column
    error: str = ""  # column of half widths; "" = none


def plot_table(table: Path, figure: Path, x: str, label: str, panels: Sequence[Panel], columns: int = 2) -> None:
    """Draw columns of a CSV file against its column `x` into a PNG file.

    Args:
        table: CSV file with a header.
        figure: PNG file to write.
        x: column of the horizontal axis.
        label: of the horizontal axis.
        panels: one for each set of axes; a panel whose column is missing or empty is left out.
        columns: sets of axes side by side.
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row[x]))
    present = [panel for panel in panels if all(row.get(panel.y) for row in rows)]
    lines = -(-len(present) // columns)
    canvas = Figure(figsize=(4.2 * columns, 3.2 * lines), layout="constrained")
    for panel, axes in zip(present, canvas.subplots(lines, columns, squeeze=False).flat, strict=False):
        height = [float(row[panel.error]) for row in rows] if panel.error else None
        axes.errorbar([float(r[x]) for r in rows], [float(r[panel.y]) for r in rows], height, marker="o", capsize=3)
        axes.set(title=panel.title, xlabel=label)
        axes.grid(alpha=0.3)
    for axes in canvas.axes[len(present) :]:
        axes.remove()
    write_file(figure, lambda file: canvas.savefig(file, format="png", dpi=150))
