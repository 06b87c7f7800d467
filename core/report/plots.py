"""Draw figures from tables on disk."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from ..files import write_file

MARK = 4  # pixels around a point that its mark covers
# Where a label may stand, in points right of its point and above it: the first place is the best.
PLACES = (
    (7, 0),
    (-7, 0),
    (6, 6),
    (-6, 6),
    (6, -11),
    (-6, -11),
    (0, 9),
    (0, -15),
    (9, 15),
    (-9, 15),
    (9, -20),
    (-9, -20),
)


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


@dataclass(frozen=True)
class Point:
    """A labelled result: where it stands, and the half width of its interval."""

    label: str
    x: float
    y: float
    error: float


def plot_points(figure: Path, panels: Mapping[str, Sequence[Point]], x: str, y: str, note: str) -> None:
    """Draw labelled points with vertical intervals into an SVG file, a set of axes for each panel.

    Args:
        figure: SVG file to write.
        panels: the points by title.
        x: label of the horizontal axes.
        y: label of the vertical axes.
        note: kept in the file's description.
    """
    canvas = Figure(figsize=(5.2 * len(panels), 4.4), layout="constrained")
    for (title, points), axes in zip(panels.items(), canvas.subplots(1, len(panels), squeeze=False).flat, strict=True):
        for point in points:
            axes.errorbar(point.x, point.y, point.error, marker="o", capsize=3)
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.margins(x=0.2, y=0.08)
        axes.grid(alpha=0.3)
    renderer = FigureCanvasAgg(canvas).get_renderer()
    canvas.draw_without_rendering()  # lays the axes out; before, a point has no place in pixels
    for points, axes in zip(panels.values(), canvas.axes, strict=True):
        label_points(axes, points, renderer)
    write_svg(figure, canvas, note)


def label_points(axes: Axes, points: Sequence[Point], renderer: RendererBase) -> None:
    """Write each point's label at that of PLACES where it covers the fewest labels and points, inside the axes."""
    covered = []
    for point in points:
        ends = axes.transData.transform([(point.x, point.y - point.error), (point.x, point.y + point.error)])
        covered.append(Bbox(ends).padded(MARK))
    for point in sorted(points, key=lambda point: (-point.y, point.x)):
        text = axes.annotate(point.label, (point.x, point.y), (0, 0), textcoords="offset points", fontsize=7)
        boxes: list[tuple[int, int, Bbox]] = []  # things covered, number of the place, what the label would cover
        for place in PLACES:
            _move(text, place)
            box = text.get_window_extent(renderer).padded(-1)  # labels may touch
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            boxes.append((box.count_overlaps(covered) + (not inside), len(boxes), box))
        _, best, box = min(boxes, key=lambda each: each[:2])
        _move(text, PLACES[best])
        covered.append(box)


def _move(text: Annotation, place: tuple[float, float]) -> None:
    """Put a label so many points right of its point and above it, or left and below."""
    text.set_position(place)
    right, above = place
    text.set(ha="left" if right > 0 else "right" if right < 0 else "center", va="center" if above == 0 else "baseline")


@dataclass(frozen=True)
class Difference:
    """A labelled difference with the half width of its interval, and another estimate of it with its own, if known."""

    label: str
    value: float
    ci95: float
    wide: tuple[float, float] | None


def plot_differences(figure: Path, panels: Mapping[str, Sequence[Difference]], x: str, note: str) -> None:
    """Draw differences one below the other, the first on top, into an SVG file, a set of axes for each panel.

    The thick bar is the interval `ci95` around the value, the thin one `wide`.

    Args:
        figure: SVG file to write.
        panels: the differences by title.
        x: label of the horizontal axes; panels stand two side by side.
        note: kept in the file's description.
    """
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    height_of_a_line = 1.2 + 0.3 * max(map(len, panels.values()))
    canvas = Figure(figsize=(5.2 * columns, height_of_a_line * lines), layout="constrained")
    canvas.supxlabel(x, fontsize="medium")
    for (title, rows), axes in zip(panels.items(), canvas.subplots(lines, columns, squeeze=False).flat, strict=False):
        for height, row in enumerate(rows):
            axes.errorbar(row.value, -height, xerr=row.ci95, marker="o", color="C0", elinewidth=3)
            if row.wide is not None:
                axes.errorbar(row.wide[0], -height, xerr=row.wide[1], color="C0", elinewidth=1, capsize=3)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=title, yticks=range(0, -len(rows), -1), yticklabels=[row.label for row in rows])
        axes.grid(alpha=0.3, axis="x")
    for axes in canvas.axes[len(panels) :]:
        axes.remove()
    write_svg(figure, canvas, note)


@dataclass(frozen=True)
class Rank:
    """A labelled rank, 1 for the first, and the ranks from `best` to `worst` that are possible."""

    label: str
    rank: int
    best: int
    worst: int


def plot_ranks(figure: Path, panels: Mapping[str, Sequence[Rank]], note: str) -> None:
    """Draw ranks into an SVG file: a line for each label, a column for each panel.

    Lines are in the order of their mean rank; a label that a panel lacks leaves a gap there.

    Args:
        figure: SVG file to write.
        panels: the ranks by title; each label once.
        note: kept in the file's description.
    """
    shares: dict[str, list[float]] = {}
    for ranks in panels.values():
        for each in ranks:
            shares.setdefault(each.label, []).append((each.rank - 1) / len(ranks))
    labels = sorted(shares, key=lambda label: (sum(shares[label]) / len(shares[label]), label))
    canvas = Figure(figsize=(1.8 + 2.4 * len(panels), 1 + 0.26 * len(labels)), layout="constrained")
    columns = canvas.subplots(1, len(panels), squeeze=False, sharey=True).flat
    for (title, ranks), axes in zip(panels.items(), columns, strict=True):
        for each in ranks:
            reach = [[each.rank - each.best], [each.worst - each.rank]]
            axes.errorbar(each.rank, -labels.index(each.label), xerr=reach, marker="o", color="C0", elinewidth=3)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set(title=title, xlabel="rank", yticks=range(0, -len(labels), -1), yticklabels=labels)
        axes.grid(alpha=0.3)
    write_svg(figure, canvas, note)


def write_svg(figure: Path, canvas: Figure, note: str) -> None:
    """Write a figure without the date, so that the same drawing gives the same file."""
    with rc_context({"svg.hashsalt": figure.name}):
        write_file(
            figure, lambda file: canvas.savefig(file, format="svg", metadata={"Date": None, "Description": note})
        )
