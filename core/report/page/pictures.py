"""Sections that draw what a method or an objective shows of its work; see core/pictures.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ...pictures import ClassMatrix, ClassPicture, ClassValues, Matches, Picture
from .charts import drawing
from .images import data_uri
from .render import Section

SIDE, GAP = 200, 60  # of an image in a drawing of matches, and between two
BEND = 40  # by which the middle of a line lies off, at most and either way
MOST_LINES = 80  # of a drawing; the strongest
MOST_OUTLINES = 150  # regions of an image beyond which they are not outlined
MOST_CLASSES = 20  # of a matrix


@dataclass(frozen=True)
class ShownTask:
    """Images, classes and answers of a task, with the queries that are looked at."""

    names: Sequence[str]  # [N]
    supports: Sequence[np.ndarray]  # [n_s]
    support_labels: Sequence[int]
    queries: Sequence[np.ndarray]  # [Q]
    query_labels: Sequence[int]
    predicted: Sequence[int]


def task_sections(pictures: Sequence[Picture], task: ShownTask) -> list[Section]:
    """A section for each picture of a task."""
    return [_matches(p, task) if isinstance(p, Matches) else class_section(p, task.names) for p in pictures]


def class_section(picture: ClassPicture, names: Sequence[str]) -> Section:
    """Bars for numbers of classes, a coloured table for those of pairs."""
    if isinstance(picture, ClassValues):
        rows = [(name, 100 * float(value)) for name, value in zip(names, picture.values.tolist(), strict=True)]
        return Section(picture.title, "classes", {"rows": rows, "note": picture.note})
    return _matrix(picture, names)


def _matrix(picture: ClassMatrix, names: Sequence[str]) -> Section:
    """The first classes of a matrix, the larger a number the darker; the diagonal says nothing and is empty."""
    values, note = picture.values[:MOST_CLASSES, :MOST_CLASSES], picture.note
    if len(values) < len(picture.values):
        note += f" The first {len(values)} of {len(picture.values)} classes."
    low, width = float(values.min()), float(np.ptp(values)) or 1.0
    rows = [
        (name, [(f"{v:.2f}", 85 * (v - low) / width) if i != j else ("", 0.0) for j, v in enumerate(row)])
        for i, (name, row) in enumerate(zip(names[: len(values)], values.tolist(), strict=True))
    ]
    return Section(picture.title, "matrix", {"names": names[: len(values)], "rows": rows, "note": note}, wide=True)


def _matches(picture: Matches, task: ShownTask) -> Section:
    """For each query, its class and the class it was taken for: the support that is tied to it most."""
    drawings = []
    for query, (label, answer) in enumerate(zip(task.query_labels, task.predicted, strict=True)):
        for shown in dict.fromkeys((label, answer)):
            supports = [s for s, of in enumerate(task.support_labels) if of == shown]
            best = max(supports, key=lambda s: float(picture.strength[query, s].sum()))
            said = "its class" if shown == label else "not its class"
            said += ", and the answer" if shown == answer else ""
            caption = f"{task.names[label]} (left) and {task.names[shown]} (right): {said}"
            content = draw_matches(picture, query, best, task.queries[query], task.supports[best])
            drawings.append((caption, drawing(content, caption, SIDE, 2 * SIDE + GAP)))
    return Section(picture.title, "curves", {"charts": drawings, "note": picture.note}, wide=True)


def draw_matches(picture: Matches, query: int, support: int, left: np.ndarray, right: np.ndarray) -> Markup:
    """A query and a support side by side, with a line for each match, as thick as it is strong."""
    strength, offset = picture.strength[query, support], SIDE + GAP
    of_query = None if picture.query_weight is None else picture.query_weight[query, support]
    of_support = None if picture.support_weight is None else picture.support_weight[query, support]
    content = _image(left, 0, picture.query_regions, of_query)
    content += _image(right, offset, picture.support_regions, of_support)
    starts, ends = _centres(picture.query_regions), _centres(picture.support_regions)
    ends[:, 0] += offset
    largest = max(float(strength.max()), 1e-12)
    for flat in np.argsort(-strength, axis=None, kind="stable")[:MOST_LINES].tolist():
        i, j = divmod(flat, strength.shape[1])
        share = float(strength[i, j]) / largest
        if share > 0:
            content += _line(starts[i].tolist(), ends[j].tolist(), share, i)
    return content


def _line(start: list[float], end: list[float], share: float, region: int) -> Markup:
    """A line between two places, coloured by its region; it bends, so that lines of one row do not hide each other."""
    (x0, y0), (x1, y1) = start, end
    bend = BEND * (x0 / SIDE - 0.5)
    style = f"stroke:hsl({round(region * 137.5) % 360} 90% 60%);stroke-width:{0.5 + 2.5 * share:.2f}"
    path = '<path class="match" d="M{:.1f} {:.1f} Q{:.1f} {:.1f} {:.1f} {:.1f}" style="{};opacity:{:.2f}"/>'
    middle = ((x0 + x1) / 2, (y0 + y1) / 2 + bend)
    return Markup(path).format(x0, y0, *middle, x1, y1, style, 0.25 + 0.75 * share)


def _image(image: np.ndarray, left: int, regions: np.ndarray, weight: np.ndarray | None) -> Markup:
    """An image with the outlines of its regions; those that weigh little lie under a veil."""
    content = Markup('<image href="{0}" x="{1}" y="0" width="{2}" height="{2}"/>').format(data_uri(image), left, SIDE)
    if len(regions) > MOST_OUTLINES:
        return content
    veil = np.zeros(len(regions)) if weight is None else 0.6 * (1 - weight / max(float(weight.max()), 1e-12))
    for (x0, y0, x1, y1), pale in zip((regions * SIDE).tolist(), veil.tolist(), strict=True):
        box = '<rect class="region" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" style="fill-opacity:{:.2f}"/>'
        content += Markup(box).format(left + x0, y0, x1 - x0, y1 - y0, pale)
    return content


def _centres(regions: np.ndarray) -> np.ndarray:
    """The middle of each region, [P, 2]."""
    return SIDE * np.stack([regions[:, [0, 2]].mean(1), regions[:, [1, 3]].mean(1)], 1)
