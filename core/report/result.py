"""The files of an evaluation, and the line that sums it up."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from .tally import Evaluation

LONGEST_VALUE = 24  # characters of a changed value in a folder's name


def folder_name(kind: str, result: dict[str, Any], shape: str) -> str:
    """Name of a result's folder: all that tells this evaluation from another one of the same checkpoint.

    Args:
        kind: of the evaluation, "" for ordinary episodes.
        result: names the data set where it is another than in training, the head where it is another method's, the
            arguments and keys that differ from training, the precision, and the content of the data where the
            checkpoint does not know it under its name.
        shape: what was classified: the shape of episodes, their seed and number.
    """
    r = result
    dataset = "" if r["dataset"] == r.get("trained_on", r["dataset"]) else r["dataset"]
    head = r["method"] if r.get("features_of") else ""
    name = "_".join(filter(None, [kind, dataset, shape, head])) + at_test(r)
    name += "_bf16" if r.get("precision") == "bfloat16" else ""
    return name + (f"_data={r['store']}" if r.get("store") else "")


def episodes_name(result: dict[str, Any]) -> str:
    """Split, shape, seed and number of episodes, for a folder's name."""
    r = result
    return f"{r['split']}_{r['way']}w{r['shot']}s_q{r['query']}_seed{r['seed']}_{r['episodes']}"


@dataclass(frozen=True)
class Drawn:
    """The images of the episodes, so that others can ask the same."""

    support: np.ndarray  # [episodes, n_s] numbers in the split, class after class
    query: np.ndarray  # [episodes, Q]
    labels: np.ndarray  # [M] class of each image of the split
    names: list[str]  # of each image


def result_files(
    result: dict[str, Any],
    evaluation: Evaluation,
    class_names: list[str],
    disjoint: Evaluation | None = None,
    drawn: Drawn | None = None,
) -> dict[str, Any]:
    """The files of an evaluation, by name; None for one that must not be there.

    Args:
        result: what result.json holds; the hardest and easiest episodes are added.
        evaluation: of the episodes.
        class_names: names of the split's classes.
        disjoint: evaluation of the disjoint tasks, partition by partition, where there are any.
        drawn: the images of the episodes, where they are to be listed.
    """
    queries, confusion = result["queries"], evaluation.confusion
    totals, hits = confusion.sum(1), confusion.diagonal()
    accuracies = [
        f"{i},{quoted(name)},{hit},{total},{100 * hit / total if total else float('nan'):.2f}\n"
        for i, (name, hit, total) in enumerate(zip(class_names, hits.tolist(), totals.tolist(), strict=True))
    ]
    header = ",".join(["true", *map(quoted, class_names)])
    rows = [
        f"{quoted(name)},{','.join(map(str, row))}\n" for name, row in zip(class_names, confusion.tolist(), strict=True)
    ]
    return {
        "episodes.csv": _episodes(evaluation, queries, drawn),
        "images.csv": drawn and _images(drawn, class_names),
        "disjoint.csv": None if disjoint is None else _episodes(disjoint, queries),
        "per_class.csv": "class,name,correct,queries,accuracy\n" + "".join(accuracies),
        "confusion.csv": header + "\n" + "".join(rows),
        "result.json": result | extremes(evaluation, queries, class_names),
    }


def _episodes(evaluation: Evaluation, queries: int, drawn: Drawn | None = None) -> str:
    """One line an episode."""
    columns = (evaluation.correct.tolist(), evaluation.top2.tolist(), evaluation.classes.tolist())
    rows = [
        f"{i},{correct},{queries},{' '.join(map(str, classes))},{top2}"
        for i, (correct, top2, classes) in enumerate(zip(*columns, strict=True))
    ]
    header = "index,correct,queries,classes,top2"
    if drawn:
        header += ",support,query"
        numbers = zip(drawn.support.tolist(), drawn.query.tolist(), strict=True)
        images = [f",{' '.join(map(str, s))},{' '.join(map(str, q))}" for s, q in numbers]
        rows = [row + part for row, part in zip(rows, images, strict=True)]
    return "\n".join([header, *rows]) + "\n"


def _images(drawn: Drawn, class_names: list[str]) -> str:
    """The class and the name of each image of the split, by its number."""
    pairs = enumerate(zip(drawn.labels.tolist(), drawn.names, strict=True))
    return "image,class,name\n" + "".join(f"{i},{quoted(class_names[c])},{quoted(name)}\n" for i, (c, name) in pairs)


def extremes(evaluation: Evaluation, queries: int, class_names: list[str], listed: int = 5) -> dict[str, Any]:
    """The hardest and the easiest episodes, and how bad the worst are."""
    accuracy = evaluation.correct * (100 / queries)
    order = np.argsort(evaluation.correct, kind="stable")

    def described(ids: np.ndarray) -> list[dict[str, Any]]:
        return [
            {
                "episode": i,
                "accuracy": round(accuracy[i], 4),
                "classes": [class_names[c] for c in evaluation.classes[i]],
            }
            for i in ids.tolist()
        ]

    worst = accuracy[order[: max(1, len(order) // 10)]]
    return {
        "worst_tenth": float(worst.mean()),
        "percentile_5": float(np.quantile(accuracy, 0.05)),
        "hardest": described(order[:listed]),
        "easiest": described(order[::-1][:listed]),
    }


def at_test(result: dict[str, Any]) -> str:
    """Folder suffix that lists the arguments and keys changed at test time."""
    return "".join(f"_{_short(key)}={_safe(value)}" for key, value in result.get("at_test", {}).items())


def answered_by(result: dict[str, Any]) -> str:
    """The method, whose features it classified if not its own, and the arguments and keys changed at test time."""
    r = result
    method = f"{r['method']} on features of {r['features_of']}" if r.get("features_of") else r["method"]
    return method + "".join(
        f", {_short(key)} {_plain_text(value)} at test" for key, value in r.get("at_test", {}).items()
    )


def _short(key: str) -> str:
    """An argument's name, or a key without its group: VIEWS, TRAIN.NAME."""
    return key.split(".", 1)[-1]


def _plain_text(value: Any) -> str:
    """An argument's value without brackets and blanks."""
    return re.sub(r"[^\w.+-]+", "-", str(value)).strip("-")


def _safe(value: Any) -> str:
    """A value for a folder's name; a hash tells apart what is cut, and texts of which characters are left out."""
    text = _plain_text(value)
    if len(text) <= LONGEST_VALUE and (not isinstance(value, str) or text == value != ""):
        return text
    return f"{text[-LONGEST_VALUE:]}~{hashlib.sha256(str(value).encode()).hexdigest()[:6]}".lstrip("-.")


def harmless(name: str) -> str:
    """A text for a CSV cell: no spreadsheet takes it for a formula, no terminal for a command."""
    name = "".join(letter if letter.isprintable() or letter in "\r\n" else "?" for letter in name)
    return f"'{name}" if name[:1] in set("=+-@") else name


def quoted(name: str) -> str:
    """A CSV field, harmless."""
    name = harmless(name)
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name


def result_line(result: dict[str, Any]) -> str:
    """One line: method, data, accuracy with its interval, how it was measured, and the published number."""
    r = result
    kind = "transductive" if r["transductive"] else "inductive"
    kind += ", bfloat16" if r.get("precision") == "bfloat16" else ""
    line = (
        f"{answered_by(r)}  {r['dataset']} {r['split']}  {r['way']}-way {r['shot']}-shot  "
        f"{r['mean']:.2f} ± {r['ci95']:.2f} %  "
        f"({r['episodes']} episodes, 95 % {r.get('ci', 't')[0]}-interval, seed {r['seed']}, {kind})"
    )
    if r["reference"]:
        ref = r["reference"]
        interval = f" ± {ref['ci']:g}" if ref["ci"] else ""
        line += f"  {ref['status']}: {ref['accuracy']:g}{interval}"
    return line + data_notes(r)


def data_notes(result: dict[str, Any]) -> str:
    """What every line says of weights from elsewhere, and of data that differs from the published benchmark."""
    external = result.get("external_data")
    note = f"  external data: {external['weights']}, learned from {external['data']}" if external else ""
    return note + ("  DATA DEVIATES from the published benchmark" if result.get("deviation") else "")


def at_chance(result: Any) -> bool:
    """Whether the accuracy is that of guessing among the classes of an episode, as far as its interval tells."""
    known = isinstance(result, dict) and all(isinstance(result.get(k), int | float) for k in ("mean", "ci95", "way"))
    return known and result["mean"] - result["ci95"] <= 100 / result["way"]
