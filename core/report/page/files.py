"""The page of an answer that brings no sections of its own: its line, its result and its tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from ..result import answered_by
from .render import Section

MOST_ROWS = 200  # of a table


def page_title(result: Mapping[str, Any], line: str) -> str:
    """Method, data and shape of the episodes, as far as the result tells them; else the line."""
    if not {"method", "dataset"} <= result.keys():
        return line
    shape = f"{result['way']}-way {result['shot']}-shot" if {"way", "shot"} <= result.keys() else ""
    data = f"{result['dataset']} {result.get('split', '')}".strip()
    return " · ".join(part for part in (answered_by(dict(result)), data, shape) if part)


def file_sections(line: str, files: Mapping[str, Any]) -> list[Section]:
    """The line, the plain values of every result, and every CSV table."""
    facts = {
        name: {key.replace("_", " "): _plain(value) for key, value in content.items() if _is_plain(value)}
        for name, content in files.items()
        if isinstance(content, Mapping)
    }
    sections = [Section("Result", "text", {"text": line}, wide=True), Section("Figures", "facts", {"groups": facts})]
    for name, content in files.items():
        if name.endswith(".csv") and isinstance(content, str):
            header, *rows = csv.reader(io.StringIO(content, newline="")) or [[]]
            note = f"The first {MOST_ROWS} of {len(rows)} rows." if len(rows) > MOST_ROWS else ""
            values: dict[str, Any] = {"header": header, "rows": rows[:MOST_ROWS], "note": note}
            sections.append(Section(name, "table", values, wide=len(header) > 6))
    return sections


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and value != ""


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
