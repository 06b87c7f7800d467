"""Sections that show images: single episodes, the confusion matrix, and where the classes lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from .charts import drawing, scatter
from .images import data_uri
from .render import Section

THUMB = 56  # pixels of an image in an episode
SHOWN_SUPPORTS, SHOWN_QUERIES = 5, 8  # of a class
TALL = 380  # height of the map of features
MATRIX = 20  # classes of a confusion matrix, at most


@dataclass(frozen=True)
class ShownClass:
    """A class of an episode: its supports, and its queries with the class that each was taken for."""

    name: str
    supports: Sequence[np.ndarray]
    queries: Sequence[np.ndarray]
    predicted: Sequence[str]


@dataclass(frozen=True)
class ShownEpisode:
    """An episode to look at."""

    number: int
    accuracy: float  # percent
    classes: Sequence[ShownClass]


@dataclass(frozen=True)
class Confusions:
    """Counts of queries, true class by predicted, with one image for each pair that occurred.

    Columns after those of the classes count other answers, such as a rejection.
    """

    names: Sequence[str]
    counts: np.ndarray  # [classes, classes + others]
    images: dict[tuple[int, int], np.ndarray]
    others: Sequence[str] = ()  # names of the other answers


def episodes_section(title: str, episodes: Sequence[ShownEpisode], note: str) -> Section:
    """Episodes with their supports beside their queries; of the queries of a class, wrong ones come first."""
    return Section(title, "episodes", {"episodes": [_episode(e) for e in episodes], "note": note}, wide=True)


def _episode(episode: ShownEpisode) -> dict:
    rows = []
    for shown in episode.classes:
        order = sorted(range(len(shown.queries)), key=lambda q: shown.predicted[q] == shown.name)
        kept = order[:SHOWN_QUERIES]
        queries = [(data_uri(shown.queries[q], THUMB), shown.predicted[q]) for q in kept]
        right = sum(name == shown.name for name in shown.predicted)
        supports = [data_uri(image, THUMB) for image in shown.supports[:SHOWN_SUPPORTS]]
        rows.append({"name": shown.name, "supports": supports, "queries": queries, "right": right, "of": len(order)})
    return {"number": episode.number, "accuracy": episode.accuracy, "classes": rows}


def confused_classes(counts: np.ndarray) -> list[int]:
    """The classes of the matrix: all, or those that are confused most, most confused pairs side by side."""
    wrong = counts - np.diag(counts.diagonal())
    if len(counts) <= MATRIX:
        return list(range(len(counts)))
    pairs = wrong + wrong.T
    order = np.argsort(-np.triu(pairs), axis=None, kind="stable")
    chosen: dict[int, None] = {}
    for flat in order.tolist():
        for number in divmod(flat, len(counts)):
            if len(chosen) < MATRIX:
                chosen[number] = None
        if len(chosen) == MATRIX:
            break
    return list(chosen)


def confusion_section(confusions: Confusions) -> Section:
    """The matrix; a cell shows a query of the row's class that was taken for the column's, where there is one."""
    counts = confusions.counts
    chosen = confused_classes(counts[:, : len(counts)])
    columns = [*chosen, *range(len(counts), counts.shape[1])]
    totals = counts.sum(1).clip(1)
    largest = max((100 * counts[i, j] / totals[i] for i in chosen for j in columns if i != j), default=0) or 1
    side = 30 if len(chosen) > 10 else THUMB
    names = [confusions.names[i] for i in chosen]
    cells = [[_cell(confusions, i, j, totals[i], largest, side) for j in columns] for i in chosen]
    note = (
        "A row is a true class, a column what it was taken for. A cell shows one of the images; the redder it is, the "
        "more often that happened. A pointer on it tells how often."
    )
    if len(chosen) < len(counts):
        note += f" These are the {len(chosen)} classes of {len(counts)} that are confused most."
    values = {"names": [*names, *confusions.others], "note": note, "side": side}
    values["rows"] = list(zip(names, cells, strict=True))
    return Section("What is taken for what", "confusion", values, wide=True)


def _cell(confusions: Confusions, i: int, j: int, total: int, largest: float, side: int) -> dict:
    count, image = int(confusions.counts[i, j]), confusions.images.get((i, j))
    answers = [*(f"taken for {name}" for name in confusions.names), *confusions.others]
    title = f"{confusions.names[i]} {answers[j]}: {count} of {total} ({100 * count / total:.1f} %)"
    share = 100 * (100 * count / total) / (100 if i == j else largest)
    return {
        "title": title,
        "image": data_uri(image, side) if image is not None else "",
        "share": share,
        "right": i == j,
    }


def principal_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, D], scaled to length one, on their first two principal components.

    Returns:
        Places [n, 2], and the share of the variance [2] of each component. Of the two directions of a component, the
        one is taken in which its largest entry is positive.
    """
    x = features.astype(np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)
    x -= x.mean(0)
    left, values, right = np.linalg.svd(x, full_matrices=False)
    count = min(2, len(values))  # one image, or features of one number, have one component
    signs = np.sign(right[:count][np.arange(count), np.abs(right[:count]).argmax(1)])
    places, shares = np.zeros((len(x), 2)), np.zeros(2)
    places[:, :count] = left[:, :count] * values[:count] * signs
    shares[:count] = values[:count] ** 2 / (values**2).sum().clip(1e-12)
    return places, shares


def features_section(
    features: np.ndarray, labels: np.ndarray, names: Sequence[str], images: Sequence[np.ndarray]
) -> Section:
    """A map of the features [n, D] of images with class numbers [n]; `images` holds one of each named class."""
    places, shares = principal_components(features)
    titles = [names[label] for label in labels.tolist()]
    axes = [f"component {n + 1} ({100 * share:.0f} % of the variance)" for n, share in enumerate(shares.tolist())]
    dots, x, y = scatter(places[:, 0], places[:, 1], titles, labels.tolist(), axes[0], axes[1], TALL)
    pictures = [
        Markup('<image href="{}" x="{:.1f}" y="{:.1f}" width="30" height="30"><title>{}</title></image>').format(
            data_uri(image, THUMB), x(float(mean[0])) - 15, y(float(mean[1])) - 15, name
        )
        for number, (name, image) in enumerate(zip(names, images, strict=True))
        for mean in [places[labels == number].mean(0)]
    ]
    chart = drawing(dots + Markup("").join(pictures), f"{axes[1]} over {axes[0]}", TALL)
    note = (
        f"Features of {len(labels)} test images of {len(names)} classes, scaled to length one, on their two principal "
        "components. A picture stands at the mean of its class. Classes that overlap here may lie apart in the other "
        "components."
    )
    return Section("Where the test classes lie", "chart", {"chart": chart, "note": note})
