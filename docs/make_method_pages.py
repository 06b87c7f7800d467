"""The page of each method on the site: its paper, equation, arguments, deviations, YAMLs and numbers."""

from __future__ import annotations

import csv
import inspect
import re
from collections.abc import Iterable, Mapping

from make_methods import ROOT, differences, lines, number_row, overview, paper, results, row

from core.build.config import schemas
from core.config import Config
from core.methods.base import Method
from core.registry import METHODS, Arguments

SECTIONS = re.compile(r"^(?:Args|Raises):\n(?:    .*(?:\n|\Z)|\n(?=    ))+", re.M)
DIFFERENCES = re.compile(r"^Differs from .*?(?=\n\n|\Z)", re.M | re.S)
ARGUMENT = re.compile(r"^    (\S[^:\n]*): (.*(?:\n {5,}\S.*)*)", re.M)
MARKUP = re.compile(r"([\\*_<\[\]|$])")
PUBLISHED = ("variant", "loss", "dataset", "backbone", "size", "way", "shot", "value", "source", "status")
OURS = ("run", "name", "dataset", "way", "shot", "mean", "open_ci95", "paper", "commit")


def method_pages(configs: Mapping[str, Config]) -> dict[str, str]:
    """{file name: text} of the pages of all methods and of the list of them."""
    runs, published, ours = results(), table("data/published.csv"), collected()
    pages = {}
    for name in METHODS:
        of_method = {leaf: cfg for leaf, cfg in configs.items() if name == cfg.METHOD.NAME}
        parts = [
            head(METHODS[name], configs),
            arguments(METHODS[name]),
            deviations(METHODS[name]),
            yamls(of_method, runs),
            published_numbers([entry for entry in published if entry["method"] == name]),
            our_numbers([entry for entry in ours if entry["method"] == name]),
        ]
        pages[f"{slug(name)}.md"] = "\n".join(part for part in parts if part)
    return pages | {"index.md": index()}


def index() -> str:
    """The list of the pages."""
    entries = lines(f"{name} <{slug(name)}>" for name in METHODS)
    return (
        f"# A page for each method\n\nTheir table is in [methods](../../methods.md).\n\n```{{toctree}}\n{entries}```\n"
    )


def head(method: type[Method], configs: Mapping[str, Config]) -> str:
    """The title, the paper, a row of facts and what the method computes."""
    _, _, trained_on, transductive, words, _ = overview(method, dict(configs)).strip("| ").split(" | ")
    facts = [("trained on", trained_on), ("transductive", transductive), ("external data", words)]
    facts += [("code", f"`{method.__module__.replace('.', '/')}.py`")]
    computes = SECTIONS.sub("", DIFFERENCES.sub("", docstring(method)))
    return (
        f"# {method.name}\n\n{markdown(paper(method))}\n\n"
        + "|  |  |\n|---|---|\n"
        + lines(row(*fact) for fact in facts)
        + f"\n## What it computes\n\n{markdown(computes)}\n"
    )


def arguments(method: type[Method]) -> str:
    """The table of METHOD.ARGS."""
    table = argument_table(method, schemas().methods[method.name])
    return f"## METHOD.ARGS\n\n{table or 'None.'}\n"


def argument_table(cls: type, known: Arguments) -> str:
    """The arguments of a registered class; one of a parent is explained by the parent. Empty where there are none."""
    meanings = argument_meanings(cls)
    rows = []
    for name, default in known.defaults.items():
        values = markdown(str(known.limits.get(name, "")))
        mark = "yes" if name in getattr(cls, "test_arguments", ()) else ""
        rows.append(row(f"`{name}`", f"`{default!r}`", values, mark, markdown(meanings.get(name, ""))))
    return table_head(["argument", "default", "values", "at test", "meaning"]) + lines(rows) if rows else ""


def argument_meanings(cls: type) -> dict[str, str]:
    """{argument: text} from the `Args` of a class and its parents, the nearest first."""
    meanings: dict[str, str] = {}
    for ancestor in reversed([ancestor for ancestor in cls.__mro__ if ancestor.__module__.startswith("core.")]):
        for section in SECTIONS.findall(docstring(ancestor)):
            for names, text in ARGUMENT.findall(section):
                meanings |= {name: " ".join(text.split()) for name in names.split(", ")}
    return meanings


def deviations(method: type[Method]) -> str:
    """Where the method differs from its paper or the authors' code."""
    text = differences(method) or "None is known."
    return f"## Where it differs from the paper and the authors' code\n\n{markdown(text)} Recipes are in the YAMLs.\n"


def yamls(configs: Mapping[str, Config], runs: dict[str, tuple[float, float]]) -> str:
    """The YAMLs of a method, each with its published number and ours."""
    rows = [number_row(leaf, cfg, runs) for leaf, cfg in configs.items()]
    heading = "| YAML below `configs/` | published | status | ours | band | verdict |\n|---|---|---|---|---|---|\n"
    return f"## YAMLs\n\n{heading}" + lines(rows)


def published_numbers(entries: Iterable[Mapping[str, str]]) -> str:
    """The rows of data/published.csv about a method."""
    rows = []
    for entry in entries:
        value = entry["value"] + (f" ± {entry['interval']}" if entry["interval"] else "")
        rows.append(row(*(markdown({**entry, "value": value}[column]) for column in PUBLISHED)))
    if not rows:
        return "## Published numbers\n\nNone is recorded in `data/published.csv`.\n"
    return "## Published numbers\n\nPercent.\n\n" + table_head(PUBLISHED) + lines(rows)


def our_numbers(entries: Iterable[Mapping[str, str]]) -> str:
    """What the collected runs of a method reached; the rows of results/*.csv."""
    rows = []
    for entry in entries:
        cells = {**entry, "mean": f"{float(entry['mean']):.2f} ± {float(entry['ci95']):.2f}"}
        cells["open_ci95"] = f"{float(entry['open_ci95']):.2f}" if entry["open_ci95"] else ""
        cells["commit"] = entry["commit"][:7]
        rows.append(row(*(markdown(cells[column]) for column in OURS)))
    if not rows:
        return ""
    note = "Percent; `open_ci95` is the interval for other images of these classes.\n\n"
    return f"## Our numbers in [the suites](../../results.md)\n\n{note}" + table_head(OURS) + lines(rows)


def table_head(columns: Iterable[str]) -> str:
    """The first two lines of a table."""
    names = list(columns)
    return lines([row(*names), "|" + "---|" * len(names)])


def table(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file of the project."""
    with open(ROOT / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def collected() -> list[dict[str, str]]:
    """The rows of all results/*.csv."""
    return [entry for file in sorted(ROOT.glob("results/*.csv")) for entry in table(f"results/{file.name}")]


def slug(name: str) -> str:
    """A method's name as a file's: Baseline++ is baseline-plus-plus."""
    return name.lower().replace("++", "-plus-plus")


def docstring(cls: type) -> str:
    """The docstring of a class itself."""
    return inspect.cleandoc(cls.__doc__ or "")


def markdown(text: str) -> str:
    """Plain text as Markdown: what Markdown would read as markup is escaped, but not in code."""
    paragraphs = re.split(r"\n(?:[ ]*\n)+", text.strip())
    return "\n\n".join(part if part.startswith("    ") else _escaped(part) for part in paragraphs)


def _escaped(text: str) -> str:
    """A paragraph with its markup escaped, code in backticks and addresses as they are."""
    parts = re.split(r"(`[^`]*`|https?://\S*[^\s.,;)])", text)
    return "".join(
        (f"<{part}>" if part.startswith("http") else part) if i % 2 else MARKUP.sub(r"\\\1", part)
        for i, part in enumerate(parts)
    )
