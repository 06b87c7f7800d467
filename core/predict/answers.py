"""The answers to a user's photographs, as rows and as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..report.result import harmless
from ..report.tables import Cell, Table, as_text
from ..text import visible
from .classifier import Classifier
from .network import Encoded
from .trust import Trust

SHOWN = 40  # rows of the table in the terminal
NONE = "none of these"
LONGEST = 48  # characters of a file's name in the terminal


@dataclass(frozen=True)
class Answer:
    """What is said of one photograph."""

    file: str
    answer: str  # the class; where it is rejected, the class it would be
    probability: float
    runner_up: str
    runner_up_probability: float
    margin: float  # between the two probabilities
    nearest_support: str
    similarity: float  # to that support, the cosine of their features
    rejected: bool
    truth: str = ""  # the class of its folder; "" = not known

    @property
    def shown(self) -> str:
        """The answer for people."""
        return NONE if self.rejected else self.answer


@dataclass(frozen=True)
class Answers:
    """All answers of one call, the least certain first, with what is known about them.

    `facts` is what answers.json says beside the answers; `notes` are sentences for people.
    """

    classes: list[str]
    supports: list[str]
    rows: list[Answer]
    facts: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    bad: Mapping[str, str] = field(default_factory=dict)  # {file: reason} of photographs without an answer

    def as_csv(self) -> str:
        """answers.csv: a line for each photograph."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [*_row(self.rows[0])] if self.rows else ["file"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(_row(row) for row in self.rows)
        return text.getvalue()

    def as_json(self) -> dict[str, Any]:
        """answers.json: the same with all facts."""
        return {
            **self.facts,
            "classes": self.classes,
            "notes": self.notes,
            "unreadable": dict(self.bad),
            "answers": [asdict(row) for row in self.rows],
        }

    def as_text(self) -> str:
        """The table for the terminal: the least certain answers, where there are many."""
        header = ["file", "class", "probability", "runner-up", "margin", "nearest support"]
        cells = [
            [_short(r.file), r.shown, f"{r.probability:.2f}", r.runner_up, f"{r.margin:.2f}", _short(r.nearest_support)]
            for r in self.rows[:SHOWN]
        ]
        more = len(self.rows) - SHOWN
        note = f"... and {more} more certain ones, see answers.csv" if more > 0 else ""
        return as_text(Table(header, [[Cell(visible(text, "")) for text in row] for row in cells], note, names=2))

    def accuracy(self) -> tuple[float, int]:
        """Share of correct answers among photographs whose folder is a class, in %, and their number.

        A rejected one is not answered correctly.
        """
        known = [row for row in self.rows if row.truth in self.classes]
        correct = sum(is_right(row, self.classes) for row in known)
        return (100 * correct / len(known) if known else float("nan")), len(known)


def answer(classifier: Classifier, trust: Trust, encoded: Encoded, share: float) -> list[Answer]:
    """The answers to encoded photographs, the least certain first.

    Those are rejected whose nearest support is less similar than `share` of photographs of the classes are.
    """
    if not encoded.photos:
        return []
    logits = classifier.logits(encoded.features)
    probabilities, threshold = trust.probabilities(logits), trust.threshold(share)
    best, order = probabilities.topk(2, dim=1)
    near, which = _nearest(classifier, encoded)
    classes = classifier.supports.classes
    rows = [
        Answer(
            file=photo.name,
            answer=classes[int(order[i, 0])],
            probability=round(float(best[i, 0]), 6),
            runner_up=classes[int(order[i, 1])],
            runner_up_probability=round(float(best[i, 1]), 6),
            margin=round(float(best[i, 0] - best[i, 1]), 6),
            nearest_support=classifier.supports.names[int(which[i])],
            similarity=round(float(near[i]), 6),
            rejected=bool(near[i] < threshold),
            truth=photo.label,
        )
        for i, photo in enumerate(encoded.photos)
    ]
    return sorted(rows, key=lambda row: (row.margin, row.file))


def _nearest(classifier: Classifier, encoded: Encoded) -> tuple[Tensor, Tensor]:
    """Cosine [Q] of each photograph's features with those of its nearest support, and the support's row [Q]."""
    places = classifier.network.places(encoded.features)
    best = (places @ classifier.supports.places.T).max(dim=1)
    return best.values.cpu(), best.indices.cpu()


def _row(row: Answer) -> dict[str, Any]:
    """A row of answers.csv; probabilities with six digits."""
    cells = {
        "file": row.file,
        "class": row.shown,
        **{name: value for name, value in asdict(row).items() if name not in ("file", "answer")},
        "if_not_rejected": row.answer,
    }
    return {name: harmless(cell) if isinstance(cell, str) else cell for name, cell in cells.items()}


def _short(name: str) -> str:
    """The end of a long name."""
    return name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}"


def counted(number: int, noun: str) -> str:
    """`1 photo`, `2 photos`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def is_right(row: Answer, classes: Sequence[str]) -> bool:
    """Whether a photograph with a truth got its class, or was rejected where that is none of the classes."""
    return row.truth not in classes if row.rejected else row.truth == row.answer


def confusion(rows: Sequence[Answer], classes: Sequence[str]) -> list[list[int]]:
    """Photographs of each true class by the class of their answer; rejected ones and those of no class are left out."""
    number = {name: i for i, name in enumerate(classes)}
    table = torch.zeros(len(classes), len(classes), dtype=torch.long)
    for row in rows:
        if row.truth in number and not row.rejected:
            table[number[row.truth], number[row.answer]] += 1
    return table.tolist()
