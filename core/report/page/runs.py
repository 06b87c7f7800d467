"""Sections about the run behind a result: training curves, what the config changed, and the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...kinds import parse_json
from .charts import Line, lines
from .render import Section

KNOWN = {
    "stage",
    "epoch",
    "step",
    "loss",
    "train_accuracy",
    "val",
    "val_ci95",
    "lr",
    "steps_per_second",
    "cost",
}
MOST_CURVES = 6  # of further scalars


def run_sections(run: Path, result: Mapping[str, Any]) -> list[Section]:
    """What the files of a run folder say; a file that is missing or damaged is left out."""
    records = _records(run / "metrics.jsonl")
    sections = (
        [Section("Training", "curves", {"charts": charts, "note": ""}, wide=True)]
        if (charts := curves(records))
        else []
    )
    if diff := _text(run / "diff.txt").strip():
        sections.append(Section("What the config changes", "text", {"text": diff}))
    return [*sections, Section("Environment", "facts", {"groups": _environment(run, result)})]


def curves(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """Titles and charts of loss, accuracy and further scalars over the epochs of all stages, one after another."""
    if not records:
        return []
    starts = [n for n in range(1, len(records)) if records[n]["stage"] != records[n - 1]["stage"]]
    breaks = [start + 0.5 for start in starts]
    stages = " → ".join(dict.fromkeys(str(record["stage"]) for record in records))
    label = f"epoch ({stages})"
    others = [name for name in dict.fromkeys(key for record in records for key in record) if name not in KNOWN]
    accuracy = [_line(records, "train_accuracy", "training"), _line(records, "val", "validation", "val_ci95")]
    wanted = [("Loss", [_line(records, "loss")], ""), ("Accuracy", accuracy, "%")]
    wanted += [("Learning rate", [_line(records, "lr")], "")]
    wanted += [(name, [_line(records, name)], "") for name in others[:MOST_CURVES]]
    charts = []
    for title, all_curves, y_label in wanted:
        present = [curve for curve in all_curves if curve.x]
        if present:
            charts.append((title, lines(present, label, y_label, breaks)))
    return charts


def _line(records: Sequence[Mapping[str, Any]], key: str, name: str = "", band: str = "") -> Line:
    """The finite values of a column over the number of the record."""
    points = [(n, r[key], r.get(band, 0.0)) for n, r in enumerate(records, start=1) if _finite(r.get(key))]
    return Line(name or key, [p[0] for p in points], [p[1] for p in points], [p[2] for p in points] if band else ())


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < float("inf")


def _records(file: Path) -> list[dict[str, Any]]:
    records = []
    for line in _text(file).splitlines():
        try:
            records.append(parse_json(line, {"stage": str}))
        except ValueError:  # a line that was cut short
            continue
    return records


def _environment(run: Path, result: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Facts in groups: of the evaluation, and of the training."""
    names = ("checkpoint", "checkpoint_sha256", "training_seed", "trained_on", "device", "threads", "precision")
    here = {name.replace("_", " "): str(result[name]) for name in names if result.get(name) is not None}
    here |= {f"{name} (changed at test)": str(value) for name, value in (result.get("at_test") or {}).items()}
    try:
        trained = parse_json(_text(run / "env.json"), {"": object})
    except ValueError:
        trained = {}
    there = {
        key: " ".join(map(str, v)) if isinstance(v, list) else str(v) for key, v in trained.items() if v is not None
    }
    return {name: facts for name, facts in (("Evaluation", here), ("Training", there)) if facts}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
