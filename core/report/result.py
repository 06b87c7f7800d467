"""The files of an evaluation, and the line that sums it up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.report.run import write_json, write_text


def result_dir(run: Path, checkpoint: str, result: dict[str, Any]) -> Path:
    """Where an evaluation of a run's checkpoint belongs; on another data set than it was trained on, that is named."""
    r = result
    other = "" if r["dataset"] == r["trained_on"] else f"{r['dataset']}_"
    name = f"{other}{r['split']}_{r['way']}w{r['shot']}s_q{r['query']}_seed{r['seed']}_{r['episodes']}"
    return run / "eval" / checkpoint / name


def write_result(
    folder: Path,
    result: dict[str, Any],
    correct: np.ndarray,
    classes: np.ndarray,
    confusion: np.ndarray,
    class_names: list[str],
) -> None:
    """Write episodes.csv, per_class.csv, confusion.csv and, last, result.json.

    Args:
        folder: created where it is missing.
        result: what result.json holds.
        correct: [episodes] queries classified correctly.
        classes: [episodes, N] classes of each episode, as indices of `class_names`.
        confusion: [classes, classes] counts, true by predicted.
        class_names: names of the split's classes.
    """
    queries = result["way"] * result["query"]
    rows = [
        f"{i},{c},{queries},{' '.join(map(str, k))}\n"
        for i, (c, k) in enumerate(zip(correct.tolist(), classes.tolist(), strict=True))
    ]
    write_text(folder / "episodes.csv", "index,correct,queries,classes\n" + "".join(rows))
    totals, hits = confusion.sum(1), confusion.diagonal()
    rows = [
        f"{i},{quoted(name)},{hit},{total},{100 * hit / total if total else float('nan'):.2f}\n"
        for i, (name, hit, total) in enumerate(zip(class_names, hits.tolist(), totals.tolist(), strict=True))
    ]
    write_text(folder / "per_class.csv", "class,name,correct,queries,accuracy\n" + "".join(rows))
    header = ",".join(["true", *map(quoted, class_names)])
    rows = [
        f"{quoted(name)},{','.join(map(str, row))}\n" for name, row in zip(class_names, confusion.tolist(), strict=True)
    ]
    write_text(folder / "confusion.csv", header + "\n" + "".join(rows))
    write_json(folder / "result.json", result)


def quoted(name: str) -> str:
    """A CSV field."""
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name


def result_line(result: dict[str, Any]) -> str:
    """One line: method, data, accuracy with its interval, how it was measured, and the published number."""
    r = result
    kind = "transductive" if r["transductive"] else "inductive"
    line = (
        f"{r['method']}  {r['dataset']} {r['split']}  {r['way']}-way {r['shot']}-shot  "
        f"{r['mean']:.2f} ± {r['ci95']:.2f} %  "
        f"({r['episodes']} episodes, 95 % t-interval, seed {r['seed']}, {kind})"
    )
    if r["reference"]:
        ref = r["reference"]
        interval = f" ± {ref['ci']:g}" if ref["ci"] else ""
        line += f"  {ref['status']}: {ref['accuracy']:g}{interval}"
    if r.get("deviation"):
        line += "  DATA DEVIATES from the published benchmark"
    return line
