"""The files of an evaluation, and the line that sums it up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .run import write_json, write_text


def result_dir(run: Path, checkpoint: str, result: dict[str, Any], kind: str = "") -> Path:
    """Where an evaluation of a run's checkpoint belongs; on another data set than it was trained on, that is named."""
    r = result
    other = "" if r["dataset"] == r["trained_on"] else f"{r['dataset']}_"
    name = f"{kind}{other}{r['split']}_{r['way']}w{r['shot']}s_q{r['query']}_seed{r['seed']}_{r['episodes']}"
    name += f"_{r['method']}" if r.get("features_of") else ""
    name += at_test(r)
    name += "_bf16" if r.get("precision") == "bfloat16" else ""
    return run / "eval" / checkpoint / name


@dataclass(frozen=True)
class Counts:
    """What the files of an evaluation list."""

    correct: np.ndarray  # [episodes] queries classified correctly
    top2: np.ndarray  # [episodes] queries whose class is among the two likeliest
    classes: np.ndarray  # [episodes, N] classes of each episode
    confusion: np.ndarray  # [classes, classes] counts, true by predicted

    @classmethod
    def of(cls, found: Any) -> Counts:
        """Take them from an evaluation."""
        return cls(found.correct, found.top2, found.classes, found.confusion)


def write_result(
    folder: Path, result: dict[str, Any], counts: Counts, class_names: list[str], disjoint: Counts | None = None
) -> None:
    """Write episodes.csv, per_class.csv, confusion.csv, disjoint.csv and, last, result.json.

    Args:
        folder: created where it is missing.
        result: what result.json holds; the hardest and easiest episodes are added.
        counts: of the evaluation.
        class_names: names of the split's classes.
        disjoint: of the disjoint tasks, partition by partition, where there are any.
    """
    queries = result["queries"]
    write_text(folder / "episodes.csv", _episodes(counts, queries))
    (folder / "disjoint.csv").unlink(missing_ok=True)
    if disjoint is not None:
        write_text(folder / "disjoint.csv", _episodes(disjoint, queries))
    totals, hits = counts.confusion.sum(1), counts.confusion.diagonal()
    rows = [
        f"{i},{quoted(name)},{hit},{total},{100 * hit / total if total else float('nan'):.2f}\n"
        for i, (name, hit, total) in enumerate(zip(class_names, hits.tolist(), totals.tolist(), strict=True))
    ]
    write_text(folder / "per_class.csv", "class,name,correct,queries,accuracy\n" + "".join(rows))
    header = ",".join(["true", *map(quoted, class_names)])
    rows = [
        f"{quoted(name)},{','.join(map(str, row))}\n"
        for name, row in zip(class_names, counts.confusion.tolist(), strict=True)
    ]
    write_text(folder / "confusion.csv", header + "\n" + "".join(rows))
    write_json(folder / "result.json", result | extremes(counts, queries, class_names))


def _episodes(counts: Counts, queries: int) -> str:
    """One line an episode."""
    columns = (counts.correct.tolist(), counts.top2.tolist(), counts.classes.tolist())
    rows = [
        f"{i},{c},{queries},{' '.join(map(str, k))},{two}\n" for i, (c, two, k) in enumerate(zip(*columns, strict=True))
    ]
    return "index,correct,queries,classes,top2\n" + "".join(rows)


def extremes(counts: Counts, queries: int, class_names: list[str], listed: int = 5) -> dict[str, Any]:
    """The hardest and the easiest episodes, and how bad the worst are."""
    accuracy = counts.correct * (100 / queries)
    order = np.argsort(counts.correct, kind="stable")

    def described(ids: np.ndarray) -> list[dict[str, Any]]:
        return [
            {"episode": i, "accuracy": round(accuracy[i], 4), "classes": [class_names[c] for c in counts.classes[i]]}
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
    """The end of a folder's name that tells which arguments were others in training."""
    return "".join(f"_{key}={_plain(value)}" for key, value in result.get("at_test", {}).items())


def answered_by(result: dict[str, Any]) -> str:
    """The method, whose features it classified if not its own, and its arguments that were others in training."""
    r = result
    method = f"{r['method']} on features of {r['features_of']}" if r.get("features_of") else r["method"]
    return method + "".join(f", {key} {_plain(value)} at test" for key, value in r.get("at_test", {}).items())


def _plain(value: Any) -> str:
    """An argument's value without brackets and blanks."""
    return re.sub(r"[^\w.+-]+", "-", str(value)).strip("-")


def quoted(name: str) -> str:
    """A CSV field."""
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
    if r.get("deviation"):
        line += "  DATA DEVIATES from the published benchmark"
    return line
