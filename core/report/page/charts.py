"""Charts as inline SVG. Their colours are the page's, light or dark; a pointer on a mark shows its numbers.

Drawn here and not by matplotlib, whose SVG of one chart takes longer than this whole page and has fixed colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 460, 270  # in the units of the drawing; fonts have 13
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 44
BUBBLES = 60  # places along an axis of a chart of bubbles
STRIP, EDGE = 18, 24  # height of a row of an interval chart, and space beside its ticks
SERIES = 8  # colours for lines and dots that the page's style knows: class s0 .. s7


@dataclass(frozen=True)
class Line:
    """One line of a chart: points (x, y), and the half width of a band around it where there is one."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    band: Sequence[float] = ()


@dataclass(frozen=True)
class Span:
    """A row of an interval chart: an estimate and its interval; None where it has none."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    series: int = 0


def lines(curves: Sequence[Line], x_label: str, y_label: str, breaks: Sequence[float] = ()) -> Markup:
    """Lines over a common axis, with a legend; `breaks` are positions of vertical lines."""
    xs = [x for curve in curves for x in curve.x]
    bands = [(y, b) for curve in curves for y, b in zip(curve.y, curve.band or [0.0] * len(curve.y), strict=True)]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(y - b for y, b in bands), max(y + b for y, b in bands))
    x, y = scale(x_ticks, LEFT, WIDTH - RIGHT), scale(y_ticks, HEIGHT - BOTTOM, TOP)
    marks = [
        Markup('<line class="grid dashed" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
            _n(x(at)), TOP, HEIGHT - BOTTOM
        )
        for at in breaks
    ]
    for number, curve in enumerate(curves):
        points = list(zip(curve.x, curve.y, strict=True))
        if curve.band:
            upper = [(a, b + h) for (a, b), h in zip(points, curve.band, strict=True)]
            lower = [(a, b - h) for (a, b), h in zip(points, curve.band, strict=True)]
            outline = " ".join(f"{_n(x(a))},{_n(y(b))}" for a, b in [*upper, *reversed(lower)])
            marks.append(Markup('<polygon class="band s{}" points="{}"/>').format(number % SERIES, outline))
        path = " ".join(f"{_n(x(a))},{_n(y(b))}" for a, b in points)
        marks.append(Markup('<polyline class="line s{}" points="{}"/>').format(number % SERIES, path))
        marks += [_dot(x(a), y(b), number, f"{curve.name}: {b:.4g} at {a:g}", 2.5) for a, b in _thinned(points)]
    content = _axes(x_ticks, y_ticks, x, y, x_label, y_label) + _join(marks)
    return drawing(content, f"{y_label} over {x_label}", HEIGHT) + _legend([curve.name for curve in curves])


def histogram(values: np.ndarray, step: float, x_label: str, y_label: str, marked: float) -> Markup:
    """How often values, multiples of `step`, occur, in bins of as many multiples each; a vertical line at `marked`."""
    multiples = (values / step).round().astype(int)
    first, together = int(multiples.min()), max(1, math.ceil((np.ptp(multiples) + 1) / 40))
    counts = np.bincount((multiples - first) // together)
    edges = [(first + number * together - 0.5) * step for number in range(len(counts) + 1)]
    x_ticks, y_ticks = ticks(edges[0], edges[-1]), ticks(0, float(counts.max()))
    x, y = scale([edges[0], edges[-1]], LEFT, WIDTH - RIGHT), scale(y_ticks, HEIGHT - BOTTOM, TOP)
    x_ticks = [tick for tick in x_ticks if edges[0] <= tick <= edges[-1]]
    bars = [
        _bar(x(left), x(right), y(int(count)), y(0), f"{count} at {max(left, 0):.4g} to {min(right, 100):.4g}")
        for left, right, count in zip(edges, edges[1:], counts, strict=False)
        if count
    ]
    line = Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
        _n(x(marked)), TOP, HEIGHT - BOTTOM
    )
    content = _axes(x_ticks, y_ticks, x, y, x_label, y_label) + _join(bars) + line
    return drawing(content, f"{y_label} over {x_label}", HEIGHT)


def intervals(rows: Sequence[Span], x_label: str, marked: Sequence[tuple[str, float]] = ()) -> Markup:
    """A strip for each estimate with its interval, below its name; dashed vertical lines at `marked` values with names.

    Names stand outside the drawings, so that long ones take several lines.
    """
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    x_ticks = ticks(min([*ends, *(value for _, value in marked)]), max([*ends, *(value for _, value in marked)]))
    x = scale(x_ticks, EDGE, WIDTH - EDGE)
    lines = [
        Markup('<line class="dashed" x1="{0}" x2="{0}" y1="0" y2="{1}"><title>{2}: {3:.2f}</title></line>').format(
            _n(x(value)), STRIP, name, value
        )
        for name, value in marked
    ]
    strips = []
    for row in rows:
        marks = list(lines)
        if row.low is not None and row.high is not None:
            bar = '<line class="whisker s{0}" x1="{1}" x2="{2}" y1="{3}" y2="{3}"/>'
            marks.append(Markup(bar).format(row.series % SERIES, _n(x(row.low)), _n(x(row.high)), STRIP // 2))
        marks.append(_dot(x(row.value), STRIP / 2, row.series, _described(row), 4.5))
        strip = drawing(_join(marks), _described(row), STRIP)
        strips.append(Markup('<div class="strip">{}</div>{}').format(row.name, strip))
    return _join(strips) + drawing(_x_axis(x_ticks, x, 2, x_label), x_label, BOTTOM)


def bubbles(x: np.ndarray, y: np.ndarray, x_label: str, y_label: str) -> Markup:
    """Pairs of percentages [n] as dots whose area is their number, with the line on which both are equal."""
    cells = np.round(np.stack([x, y], 1) * (BUBBLES / 100)).astype(int)
    places, counts = np.unique(cells, axis=0, return_counts=True)
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    steps = ticks(low, high)
    across, up = scale(steps, LEFT, WIDTH - RIGHT), scale(steps, WIDTH - BOTTOM, TOP)
    dots = []
    for (a, b), count in zip((places * (100 / BUBBLES)).tolist(), counts.tolist(), strict=True):
        title = f"{count} episodes at {a:.0f} and {b:.0f}"
        dots.append(
            _dot(across(a), up(b), 0 if b > a else 1 if b < a else 7, title, 1 + 5 * (count / counts.max()) ** 0.5)
        )
    ends = [_n(f(end)) for end in (steps[0], steps[-1]) for f in (across, up)]
    equal = Markup('<line class="dashed" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*ends)
    axes = _axes(steps, steps, across, up, x_label, y_label, WIDTH)
    return drawing(axes + equal + _join(dots), f"{y_label} over {x_label}", WIDTH)


def scatter(
    x_values: np.ndarray,
    y_values: np.ndarray,
    names: Sequence[str],
    groups: Sequence[int],
    x_label: str,
    y_label: str,
    height: int = HEIGHT,
) -> tuple[Markup, Callable[[float], float], Callable[[float], float]]:
    """Dots with names, coloured by group, without numbers on the axes; and the two scales, to draw more on it."""
    x = scale([float(x_values.min()), float(x_values.max())], 14, WIDTH - 14)
    y = scale([float(y_values.min()), float(y_values.max())], height - 28, 14)
    dots = [
        Markup('<circle cx="{}" cy="{}" r="2.6" style="fill:hsl({} 65% 50%)"><title>{}</title></circle>').format(
            _n(x(a)), _n(y(b)), round(group * 137.5) % 360, name
        )
        for a, b, name, group in zip(x_values.tolist(), y_values.tolist(), names, groups, strict=True)
    ]
    labels = Markup(
        '<text x="{}" y="{}" text-anchor="middle">{}</text><text transform="rotate(-90)" x="{}" y="11" '
        'text-anchor="middle">{}</text>'
    ).format(WIDTH // 2, height - 6, x_label, -height // 2, y_label)
    return _join(dots) + labels, x, y


def drawing(content: Markup, label: str, height: int, width: int = WIDTH) -> Markup:
    """An SVG around its content; `label` is what a screen reader says of it."""
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(width, height, label, content)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` or below to `high` or above."""
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        around = min(0.5, abs(low) / 2) if abs(low) > 1e-6 else 0.5  # a constant of 0.001 is not drawn at 0
        low, high = low - around, high + around
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def scale(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """The linear map of the range of `values` to start .. end."""
    low, width = min(values), max(values) - min(values) or 1.0
    return lambda value: start + (value - low) / width * (end - start)


def _legend(names: Sequence[str]) -> Markup:
    """The colours of several lines; nothing for one."""
    entries = _join(
        Markup('<span><i class="s{}"></i>{}</span>').format(n % SERIES, name) for n, name in enumerate(names)
    )
    return Markup('<div class="legend">{}</div>').format(entries) if len(names) > 1 else Markup("")


def _axes(
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x: Callable[[float], float],
    y: Callable[[float], float],
    x_label: str,
    y_label: str,
    height: int = HEIGHT,
) -> Markup:
    rows = [
        Markup('<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/><text x="{3}" y="{4}" {5}>{6:g}</text>').format(
            LEFT, WIDTH - RIGHT, _n(y(tick)), LEFT - 6, _n(y(tick) + 4), Markup('text-anchor="end"'), tick
        )
        for tick in y_ticks
    ]
    label = Markup('<text transform="rotate(-90)" x="{}" y="13" text-anchor="middle">{}</text>').format(
        -(TOP + height - BOTTOM) // 2, y_label
    )
    return _join(rows) + _x_axis(x_ticks, x, height - BOTTOM, x_label) + label


def _x_axis(x_ticks: Sequence[float], x: Callable[[float], float], at: float, label: str) -> Markup:
    numbers = [
        Markup(
            '<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
            '<text x="{0}" y="{3}" text-anchor="middle">{4:g}</text>'
        ).format(_n(x(tick)), at, at + 4, at + 17, tick)
        for tick in x_ticks
    ]
    return _join(numbers) + Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
        WIDTH // 2, at + 36, label
    )


def _bar(left: float, right: float, top: float, bottom: float, title: str) -> Markup:
    return Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        _n(left + 0.5), _n(top), _n(max(right - left - 1, 0.5)), _n(bottom - top), title
    )


def _dot(x: float, y: float, series: int, title: str, radius: float) -> Markup:
    return Markup('<circle class="dot s{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
        series % SERIES, _n(x), _n(y), radius, title
    )


def _described(row: Span) -> str:
    interval = "" if row.low is None or row.high is None else f" ({row.low:.2f} to {row.high:.2f})"
    return f"{row.name}: {row.value:.2f}{interval}"


def _thinned(points: list[tuple[float, float]], most: int = 60) -> list[tuple[float, float]]:
    """Some of many points, evenly spaced, the last one among them."""
    return points[:: -max(1, math.ceil(len(points) / most))][::-1]


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def _n(value: float) -> str:
    """A coordinate, in tenths."""
    return f"{value:.1f}"
