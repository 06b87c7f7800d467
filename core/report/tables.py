"""Tables as text, Markdown, LaTeX (booktabs) or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SPECIAL = {"\\": r"\textbackslash{}", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "±": r"$\pm$", "−": "$-$", "<": "$<$"}
SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}


@dataclass(frozen=True)
class Cell:
    """A text, with its rank: 1 is the best of its column, 2 the second best, 0 any other."""

    text: str
    rank: int = 0


@dataclass(frozen=True)
class Table:
    """A header and rows of as many cells; the first `names` columns are text, the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    names: int = 1


def ranked(values: Sequence[float]) -> list[int]:
    """Rank 1 for the largest value, 2 for the second largest, 0 for the others.

    Equal values share a rank; one value alone has rank 0.
    """
    order = sorted(set(values), reverse=True)
    ranks = [order.index(value) + 1 for value in values]
    return [rank if rank <= 2 and len(values) > 1 else 0 for rank in ranks]


def as_text(table: Table) -> str:
    """A table in aligned columns."""
    lines = [list(table.header), *([cell.text for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            text.ljust(width) if i < table.names else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*aligned, *filter(None, [table.note])])


def as_markdown(table: Table) -> str:
    """A pipe table; the best in bold, the second underlined."""
    marks = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}
    rule = ["---" if i < table.names else "---:" for i in range(len(table.header))]
    rows = [[marks[cell.rank].format(cell.text.replace("|", r"\|")) for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(line)} |" for line in (table.header, rule, *rows)]
    return "\n".join([*lines, *([f"\n{table.note}"] if table.note else [])])


def as_latex(table: Table) -> str:
    """A booktabs tabular; the best in bold, the second underlined."""
    marks = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
    rows = [[marks[cell.rank].format(escaped(cell.text)) for cell in row] for row in table.rows]
    columns = "l" * table.names + "r" * (len(table.header) - table.names)
    lines = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", _line(map(escaped, table.header)), r"\midrule"]
    lines += [_line(row) for row in rows] + [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *([f"% {table.note}"] if table.note else [])])


def as_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated values, numbers in full."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def escaped(text: str) -> str:
    """A text with the special characters of LaTeX escaped."""
    return "".join(SPECIAL.get(character, character) for character in text)


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


FORMATS = {"text": as_text, "markdown": as_markdown, "latex": as_latex}
