"""report.html of the answers: every photograph with its class, the runner-up and the support that is nearest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from .. import progress
from ..prepare.images import BadImage, Decoding, decode
from ..report.page.charts import Line, lines
from ..report.page.episodes import Confusions, confusion_section
from ..report.page.images import data_uri
from ..report.page.render import Section, page
from .answers import NONE, Answer, Answers, counted, is_right
from .checks import far, unreadable
from .photos import Photo
from .trust import Expected, Trust

SIDE = 96  # of a photograph in pixels
MOST = 480  # photographs on a page
NEXT = 6  # photographs to label next
UNSURE = 0.5  # margin below which an answer is so uncertain that its photograph is to be labelled


def answers_page(
    answers: Answers,
    trust: Trust,
    queries: Mapping[str, Photo],
    supports: Mapping[str, Photo],
    copies: Collection[str] = (),
) -> str:
    """The page; photographs by their names. Those of supports may be missing: a classifier from a folder has none.

    `copies` are the queries that are supports.
    """
    pictures = Pictures(queries, supports, answers.classes)
    cards, shown, useless = [], answers.rows[:MOST], {*far(answers.rows, trust), *copies}
    with progress.bar(len(shown), "photos", name="page") as bar:
        for row in shown:
            cards.append(pictures.card(row))
            bar.update()
    sections = [_result(answers, trust)]
    if len(expected := trust.expected()) > 1:
        sections.append(_curve(expected))
    if answers.notes or answers.bad:
        sections.append(Section("Notes", "list", {"items": [*answers.notes, *unreadable(answers.bad)]}))
    unsure = [card for row, card in zip(shown, cards, strict=True) if _is_unsure(row) and row.file not in useless]
    if unsure:
        note = (
            "The answers that are least certain: their class and the runner-up are nearly as probable. To label these "
            "photos and add them to the supports helps more than others would."
        )
        sections.append(Section("Label these next", "cards", {"cards": unsure[:NEXT], "note": note}))
    if "confusion" in answers.facts:
        sections.append(_confusion(answers, pictures))
    for title, chosen, note in _groups(cards, answers.facts["reject"]):
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


def _is_unsure(row: Answer) -> bool:
    """Whether two classes are likely for a photograph, and no folder says which it is."""
    return not row.truth and not row.rejected and row.margin < UNSURE


def _result(answers: Answers, trust: Trust) -> Section:
    """How many answers of which kind, and how far they can be trusted."""
    facts, known = answers.facts, "accuracy" in answers.facts
    number = f"{facts['accuracy']:.1f} %" if known else counted(len(answers.rows), "photo")
    rejected = [row for row in answers.rows if row.rejected]
    sorted_photos = counted(len(answers.rows) - len(rejected), "photo")
    words = f"{sorted_photos} were sorted into {len(answers.classes)} classes by {facts['method']}"
    words += f", {len(rejected)} rejected." if rejected else "."
    if known:
        words += f" {_named(answers)}"
    shown = {"Labelled photos": ", ".join(f"{name} {count}" for name, count in facts["supports"].items())}
    for line in trust.describe():
        title, _, words_of_it = line.partition(": ")
        shown[title.capitalize()] = words_of_it
    if facts["reject"]:
        shown["Rejected"] = f"{len(rejected)} of {len(answers.rows)}{_kinds(rejected, answers.classes)}"
    return Section("Result", "headline", {"number": number, "words": words, "facts": shown, "warnings": []})


def _named(answers: Answers) -> str:
    """How many of the photographs whose folder is a class were named rightly, and what became of the others."""
    known = [row for row in answers.rows if row.truth in answers.classes]
    right, rejected = (sum(is_right(row, answers.classes) for row in known), sum(row.rejected for row in known))
    wrong = len(known) - right - rejected
    sentence = f"Of the {len(known)} whose folder is a class, {right} {'was' if right == 1 else 'were'} named rightly"
    if rejected and wrong:
        return f"{sentence}, {rejected} rejected and {wrong} named wrongly."
    if rejected:
        return f"{sentence}; the other {'one was' if rejected == 1 else f'{rejected} were'} rejected."
    return f"{sentence}."


def _kinds(rejected: Sequence[Answer], classes: Sequence[str]) -> str:
    """In brackets, how many rejected photographs are of no class and of a class; nothing where no folder tells."""
    unknown = sum(not row.truth for row in rejected)
    of_a_class = sum(row.truth in classes for row in rejected)
    if unknown == len(rejected):
        return ""
    kinds = [f"{len(rejected) - unknown - of_a_class} of no class", f"{of_a_class} of a class"]
    return f" ({', '.join([*kinds, *([f'{unknown} not known'] if unknown else [])])})"


def _curve(expected: Sequence[Expected]) -> Section:
    """The expected accuracy over the number of labelled photographs of each class."""
    shots, percents = [float(e.shot) for e in expected], [e.percent for e in expected]
    low, high = [e.low for e in expected], [e.high for e in expected]
    curves = [Line("expected", shots, percents), Line("95 %, at most", shots, high), Line("95 %, at least", shots, low)]
    note = "The accuracy to expect now, and with more labelled photos of each class; from reference episodes."
    chart = lines(curves, "labelled photos of a class", "%")
    return Section("What more photos would give", "chart", {"chart": chart, "note": note})


def _confusion(answers: Answers, pictures: Pictures) -> Section:
    """True classes by answers, with a photograph in each cell; a column more where some were rejected."""
    place = {name: number for number, name in enumerate(answers.classes)}
    counts, none = np.array(answers.facts["confusion"]), len(answers.classes)
    rows = [place[row.truth] for row in answers.rows if row.rejected and row.truth in place]
    rejected = np.bincount(rows, minlength=none)
    images: dict[tuple[int, int], np.ndarray] = {}
    for row in answers.rows:
        cell = (place.get(row.truth, -1), none if row.rejected else place[row.answer])
        if cell[0] >= 0 and cell not in images:
            images[cell] = pictures.query(row.file)
    if not rejected.any():
        return confusion_section(Confusions(answers.classes, counts, images))
    return confusion_section(Confusions(answers.classes, np.column_stack([counts, rejected]), images, [NONE]))


def _groups(cards: Sequence[dict[str, object]], share: float) -> list[tuple[str, list[dict[str, object]], str]]:
    """The contact sheet: answers, then what was rejected; the least certain first."""
    answered = [card for card in cards if not card["rejected"]]
    rejected = [card for card in cards if card["rejected"]]
    note = "The least certain first. Small: the labelled photo that is nearest."
    if len(cards) == MOST:
        note += f" No more than {MOST} photos are shown; answers.csv holds all."
    why = f"They fit no class well enough. Of photos of the classes, about {100 * share:g} % are rejected, too."
    groups = [("All answers", answered, note), ("None of these classes", rejected, why)]
    return [group for group in groups if group[1]]
