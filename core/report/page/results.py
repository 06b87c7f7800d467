"""Sections about the result of an evaluation on episodes: numbers in words, verdict, histogram, classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..result import answered_by, at_chance
from ..tally import Evaluation
from .charts import Span, histogram, intervals
from .render import Section

MOST_CLASSES = 40  # with a bar each; of more, the hardest and the easiest

COVERS = {
    "episodes": "other episodes from these test images",
    "disjoint": "other images of the same classes",
    "classes": "other classes like these",
}


def result_sections(result: dict[str, Any], evaluation: Evaluation, class_names: list[str]) -> list[Section]:
    """The result with its intervals and verdict, the histogram of episodes, and a bar for each class."""
    return [_headline(result), _intervals(result), _histogram(evaluation), _classes(evaluation, class_names)]


def _headline(r: dict[str, Any]) -> Section:
    percent = f"{r['mean']:.1f}"
    words = (
        f"{answered_by(r)} was asked {r['episodes']:,} times to tell {r['way']} classes apart that it had never seen, "
        f"from {r['shot']} labelled {'image' if r['shot'] == 1 else 'images'} of each. Of the {r['queries']} images in "
        f"question it named {percent} % rightly; guessing gives {100 / r['way']:.1f} %."
    )
    protocol = "transductive: an answer depends on the other queries" if r["transductive"] else "inductive"
    facts = {
        "Data": f"{r['dataset']}, {r['split']} split",
        "Episodes": f"{r['way']}-way {r['shot']}-shot, {r['query']} queries a class, seed {r['seed']}, {protocol}",
        "Among the two likeliest": f"{r['top2']:.2f} %",
        "Calibration error": f"{r['ece']:.2f} %: how far stated probabilities are from the truth, on average",
        "Worst tenth of the episodes": f"{r['worst_tenth']:.2f} %",
        "19 of 20 episodes reach": f"{r['percentile_5']:.2f} %",
    }
    warnings = []
    if at_chance(r):
        warnings.append("These answers are no better than guessing.")
    if r.get("deviation"):
        warnings.append(f"The data deviates from the published benchmark: {r['deviation']}")
    number = f"{r['mean']:.2f} ± {r['ci95']:.2f} %"
    return Section("Result", "headline", {"number": number, "words": words, "facts": facts, "warnings": warnings})


def _intervals(r: dict[str, Any]) -> Section:
    known = {name: interval for name, interval in r["intervals"].items() if interval}
    rows = [
        Span(COVERS[name], i["mean"], i.get("low", i["mean"] - i["ci95"]), i.get("high", i["mean"] + i["ci95"]), number)
        for number, (name, i) in enumerate(known.items())
    ]
    reference = r["reference"]
    if reference:
        ci = reference["ci"]
        low, high = (reference["accuracy"] - ci, reference["accuracy"] + ci) if ci else (None, None)
        rows.append(Span(f"published ({reference['source']})", reference["accuracy"], low, high, series=4))
    table = [(row.name, f"{row.value:.2f}", *_ends(row)) for row in rows]
    values = {"chart": intervals(rows, "accuracy in %"), "table": table, "verdict": verdict(r)}
    return Section("How sure is that?", "intervals", values)


def _ends(row: Span) -> tuple[str, str]:
    return ("–", "–") if row.low is None or row.high is None else (f"{row.low:.2f}", f"{row.high:.2f}")


def verdict(r: dict[str, Any]) -> str:
    """The accuracy against the published one of the same setting, in a sentence."""
    reference = r["reference"]
    if not reference:
        return (
            "No published number belongs to this evaluation: the configuration names none, or something that changes "
            "the number was changed."
        )
    difference = r["mean"] - reference["accuracy"]
    both = (r["ci95"] ** 2 + (reference["ci"] or 0) ** 2) ** 0.5
    said = f"The published number is {reference['accuracy']:g} ({reference['source']}, {reference['status']}). "
    if abs(difference) <= both:
        return said + f"This one differs by {difference:+.2f} points, which the intervals of both cover."
    way = "above" if difference > 0 else "below"
    return said + (
        f"This one lies {abs(difference):.2f} points {way}, more than the intervals of both cover ({both:.2f} points). "
        "They say nothing of other training seeds."
    )


def _histogram(evaluation: Evaluation) -> Section:
    accuracy = evaluation.accuracy
    chart = histogram(
        accuracy, 100 / evaluation.queries, "accuracy of an episode in %", "episodes", float(accuracy.mean())
    )
    spread = (
        f"The line is the mean. Single episodes spread by ± {accuracy.std(ddof=1):.1f} points (standard deviation)."
    )
    return Section("How episodes differ", "chart", {"chart": chart, "note": spread})


def _classes(evaluation: Evaluation, class_names: list[str]) -> Section:
    totals = evaluation.confusion.sum(1)
    present = np.flatnonzero(totals)
    shares = 100 * evaluation.confusion.diagonal()[present] / totals[present]
    order = np.argsort(shares, kind="stable")
    rows = [(class_names[present[n]], float(shares[n])) for n in order.tolist()]
    note = "Share of a class's queries that were named rightly, whatever the other classes of the episode were."
    if len(rows) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        note += f" The {half} hardest and the {half} easiest of {len(rows)} classes."
        rows = rows[:half] + rows[-half:]
    return Section("Classes", "classes", {"rows": rows, "note": note})
