"""What answers.json says beside the answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..report.tables import Cell, Table, as_text
from .answers import Answers, confusion
from .classifier import Classifier
from .trust import Trust


def describe(classifier: Classifier, trust: Trust, share: float) -> dict[str, object]:
    """What answers.json says of the classifier."""
    network, supports = classifier.network, classifier.supports
    return {
        "method": classifier.head.name,
        "features_of": network.name,
        "origin": network.origin,
        "supports": {name: count for name, count in zip(supports.classes, supports.counts, strict=True)},
        "temperature": 1 / trust.tau,
        "supports_held_out": trust.held_out,
        "reject": share,
        **_rejection(trust, share),
        **_expectation(trust),
    }


def _rejection(trust: Trust, share: float) -> dict[str, object]:
    """Where photographs are rejected, and what share of the held-out supports would be."""
    threshold = trust.threshold(share)
    if threshold == -math.inf:
        return {}
    facts: dict[str, object] = {"reject_below_similarity": threshold}
    if trust.held_out:
        facts["supports_refused"] = trust.refused_supports(share)
    return facts


def _expectation(trust: Trust) -> dict[str, object]:
    """Expected accuracy, its learning curve and the reference; or why there is none."""
    if trust.calibration is None:
        return {"expected_accuracy": None, "no_expected_accuracy_as": trust.reason}
    calibration, (now, *more) = trust.calibration, trust.expected()
    reference = {"of": calibration.source, "episodes": calibration.episodes}
    reference |= {"way": calibration.way, "shot": calibration.shot}
    return {
        "expected_accuracy": asdict(now),
        "learning_curve": [asdict(each) for each in more],
        "reference": reference,
    }


def measured(answers: Answers) -> dict[str, object]:
    """What the queries' folders tell about the answers: accuracy, confusion, and what was rejected."""
    percent, number = answers.accuracy()
    if not number:
        return {}
    known = [row for row in answers.rows if row.truth in answers.classes]
    others = [row for row in answers.rows if row.truth and row.truth not in answers.classes]
    facts: dict[str, object] = {
        "accuracy": percent,
        "answered_correctly_of": number,
        "confusion": confusion(answers.rows, answers.classes),
        "rejected_of_known": sum(row.rejected for row in known) / number,
    }
    if others:
        facts |= {
            "photos_of_other_classes": len(others),
            "rejected_of_others": sum(row.rejected for row in others) / len(others),
            "auroc": auroc([row.similarity for row in known], [row.similarity for row in others]),
        }
    return facts


def auroc(known: Sequence[float], others: Sequence[float]) -> float:
    """The chance that a photograph of a class is better known than one of another class; ties count half."""
    wins = sum((k > o) + 0.5 * (k == o) for k in known for o in others)
    return wins / (len(known) * len(others))


def expected_of(classifier: Classifier, trust: Trust) -> dict[str, object]:
    """A head and the accuracy to expect of it."""
    expected = trust.expected()
    return {"head": classifier.head.name, "expected_accuracy": asdict(expected[0]) if expected else None}


def heads_table(compared: Sequence[dict[str, Any]]) -> str:
    """The heads with the accuracy to expect of each."""
    rows = []
    for each in compared:
        expected = each["expected_accuracy"]
        said = "{percent:.1f} % ({low:.0f} to {high:.0f} %)".format(**expected) if expected else "not known"
        rows.append([Cell(each["head"]), Cell(said)])
    return as_text(Table(["head", "expected accuracy"], rows, names=2))
