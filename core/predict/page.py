"""report.html of the answers: every photograph with its class, the runner-up and the support that is nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .. import progress
from ..prepare.images import BadImage, Decoding, decode
from ..report.page.charts import Line, lines
from ..report.page.episodes import Confusions, confusion_section
from ..report.page.images import data_uri
from ..report.page.render import Section, page
from .answers import Answer, Answers, counted, is_right
from .checks import unreadable
from .photos import Photo
from .trust import Expected, Trust

SIDE = 96  # of a photograph in pixels
MOST = 480  # photographs on a page
NEXT = 6  # photographs to label next


def answers_page(answers: Answers, trust: Trust, queries: Mapping[str, Photo], supports: Mapping[str, Photo]) -> str:
    """The page; photographs by their names. Those of supports may be missing: a classifier from a folder has none."""
    pictures = Pictures(queries, supports, answers.classes)
    cards, shown = [], answers.rows[:MOST]
    with progress.bar(len(shown), "photos", name="page") as bar:
        for row in shown:
            cards.append(pictures.card(row))
            bar.update()
    sections = [_result(answers, trust)]
    if len(expected := trust.expected()) > 1:
        sections.append(_curve(expected))
    if answers.notes or answers.bad:
        sections.append(Section("To be known", "list", {"items": [*answers.notes, *unreadable(answers.bad)]}))
    certain = [card for card in cards if not card["rejected"]]
    if len(certain) > 1:
        note = (
            "The answers that are least certain: their class and the runner-up are nearly as probable. To label these "
            "photos and add them to the supports helps more than others would."
        )
        sections.append(Section("Label these next", "cards", {"cards": certain[:NEXT], "note": note}))
    if "confusion" in answers.facts:
        sections.append(_confusion(answers, pictures))
    for title, chosen, note in _groups(cards):
        sections.append(Section(title, "cards", {"cards": chosen, "note": note}, wide=True))
    return page(f"{answers.facts['method']} · {counted(len(answers.rows), 'photo')}", sections)


class Pictures:
    """Photographs as they are shown, each decoded once."""

    def __init__(self, queries: Mapping[str, Photo], supports: Mapping[str, Photo], classes: Sequence[str]) -> None:
        self._queries, self._supports, self._classes = queries, supports, classes
        self._shown: dict[str, str] = {}

    def card(self, row: Answer) -> dict[str, object]:
        """What is shown of an answer."""
        support = self._supports.get(row.nearest_support)
        if row.nearest_support not in self._shown:
            self._shown[row.nearest_support] = data_uri(pixels(support), SIDE // 2) if support else ""
        return {
            "image": data_uri(pixels(self._queries[row.file])),
            "file": row.file,
            "answer": row.shown,
            "nearest_class": row.answer,
            "probability": row.probability,
            "runner_up": row.runner_up,
            "runner_up_probability": row.runner_up_probability,
            "support": row.nearest_support,
            "support_image": self._shown[row.nearest_support],
            "rejected": row.rejected,
            "truth": row.truth,
            "right": is_right(row, self._classes) if row.truth else None,
        }

    def query(self, name: str) -> np.ndarray:
        """A photograph's pixels."""
        return pixels(self._queries[name])


def pixels(photo: Photo) -> np.ndarray:
    """A photograph [SIDE, SIDE, 3], as the network's images are cut; grey where its file has gone meanwhile."""
    try:
        return decode(photo.source, Decoding(SIDE))
    except BadImage:
        return np.full((SIDE, SIDE, 3), 128, np.uint8)


def _result(answers: Answers, trust: Trust) -> Section:
    """How many answers of which kind, and how far they can be trusted."""
    facts, known = answers.facts, "accuracy" in answers.facts
    number = f"{facts['accuracy']:.1f} %" if known else counted(len(answers.rows), "photo")
    words = (
        f"{counted(len(answers.rows), 'photo')} were sorted into {len(answers.classes)} classes by {facts['method']}."
    )
    if known:
        words += f" Of the {facts['answered_correctly_of']} whose folder is a class, {number} were named rightly."
    shown = {"Labelled photos": ", ".join(f"{name} {count}" for name, count in facts["supports"].items())}
    for line in trust.describe():
        title, _, words_of_it = line.partition(": ")
        shown[title.capitalize()] = words_of_it
    if facts["reject"]:
        rejected = sum(row.rejected for row in answers.rows)
        shown["Rejected"] = f"{rejected}; {100 * facts['reject']:g} % of photos of the classes were to be"
    return Section("Result", "headline", {"number": number, "words": words, "facts": shown, "warnings": []})


def _curve(expected: Sequence[Expected]) -> Section:
    """The expected accuracy over the number of labelled photographs of each class."""
    shots, percents = [float(e.shot) for e in expected], [e.percent for e in expected]
    low, high = [e.low for e in expected], [e.high for e in expected]
    curves = [Line("expected", shots, percents), Line("95 %, at most", shots, high), Line("95 %, at least", shots, low)]
    note = "The accuracy to expect now, and with more labelled photos of each class; from reference episodes."
    chart = lines(curves, "labelled photos of a class", "%")
    return Section("What more photos would give", "chart", {"chart": chart, "note": note})


def _confusion(answers: Answers, pictures: Pictures) -> Section:
    """True classes by answers, with a photograph in each cell."""
    place = {name: number for number, name in enumerate(answers.classes)}
    images: dict[tuple[int, int], np.ndarray] = {}
    for row in answers.rows:
        cell = (place.get(row.truth, -1), place[row.answer])
        if cell[0] >= 0 and cell not in images and not row.rejected:
            images[cell] = pictures.query(row.file)
    return confusion_section(Confusions(answers.classes, np.array(answers.facts["confusion"]), images))


def _groups(cards: Sequence[dict[str, object]]) -> list[tuple[str, list[dict[str, object]], str]]:
    """The contact sheet: answers, then what was rejected; the least certain first."""
    answered = [card for card in cards if not card["rejected"]]
    rejected = [card for card in cards if card["rejected"]]
    note = "The least certain first. Small: the labelled photo that is nearest."
    if len(cards) == MOST:
        note += f" No more than {MOST} photos are shown; answers.csv holds all."
    groups = [("All answers", answered, note), ("None of these classes", rejected, "They fit no class well enough.")]
    return [group for group in groups if group[1]]
