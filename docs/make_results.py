"""Write the tables and pictures of results/ into docs/results.md, results/*.csv and docs/images."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from textwrap import fill

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.build.config import schemas  # noqa: E402
from core.files import write_text  # noqa: E402
from core.report.plots import Difference, Point, Rank, plot_differences, plot_points, plot_ranks  # noqa: E402
from core.report.tables import Cell, Table, as_csv, as_markdown  # noqa: E402
from core.suites.ranking import ranking  # noqa: E402
from core.suites.standings import Row, Run, against, baseline, seeds_ci95, standings  # noqa: E402

RESULTS, FILE, IMAGES = ROOT / "results", ROOT / "docs/results.md", ROOT / "docs/images"
WIDTH = 128  # characters of a line of text
BLOCK = re.compile(r"(<!-- standings: (\w+) -->\n).*?(<!-- end -->)", re.S)
RANKED = (
    "*Ranks*: of the rows that were trained with the shots of the test or with none, where there are any. The bar "
    "spans the ranks that the paired 95 % intervals over disjoint tasks allow to these networks; another training seed "
    "may move a row further."
)
HEADER = ["method", "learns from", "trained at", "transductive", "external data", "ours", "± seeds", "± disjoint"]
HEADER += ["paper", "difference", "band", "verdict", "minutes", "machine", "commit"]
NOTE = (
    "*Ours*: the mean over the training seeds, ± the half width of the 95 % t-interval over test episodes. *± seeds*: "
    "that over training seeds, and their number. *± disjoint*: that over tasks that share no image, for other images "
    "of these classes. *Trained at*: the shots of training episodes, or any where training draws none. *Band*: points "
    "that ours may lie off the paper's number. *Minutes*: training steps on a machine that did other work too, those "
    "of a shared stage included; they depend on that work and rank no method."
)
PAIRED = (
    "Paired by episode with {name}; of several rows of this name, with the one trained at as many shots as are tested. "
    "± is the 95 % t-interval with these images. *Over disjoint tasks*: the difference over tasks that share no image, "
    "with its interval, for other images of these classes. *± seeds*: that over training seeds, where both rows have "
    "the same ones. Of several training seeds, the mean in each episode is compared."
)


def document(text: str) -> str:
    """The text of docs/results.md with its blocks of standings written anew."""
    return BLOCK.sub(lambda match: match[1] + block(match[2]) + match[3], text)


def block(suite: str) -> str:
    """The tables of a suite."""
    rows, failed = standings(RESULTS / suite)
    parts = []
    for title, alike in settings(rows):
        parts.append(f"### {title}\n\n{as_markdown(accuracies(alike))}")
        if differences(alike):
            parts.append(as_markdown(paired_table(alike)))
    sources = sorted({f"{row.published.source} ({row.published.status})" for row in rows if row.published})
    parts.append(fill(NOTE + (f" Papers: {'; '.join(sources)}." if sources else ""), WIDTH))
    if compared_with(rows):
        parts.append(fill(PAIRED.format(name=compared_with(rows)), WIDTH))
    if "ranks" in drawn(rows):
        parts.append(fill(RANKED, WIDTH))
    parts += [f"Failed: `{run.path.name}`, {run.about.get('reason', 'no reason').rstrip('.')}." for run in failed]
    parts += [f"![{title}](images/{suite}_{name}.svg)" for name, title in PICTURES.items() if name in drawn(rows)]
    return "\n".join(["", "\n\n".join(parts), "", ""])


PICTURES = {
    "minutes": "Accuracy against training minutes",
    "paired": "Differences on the same episodes",
    "ranks": "Ranks among the methods",
}


def drawn(rows: Sequence[Row]) -> list[str]:
    """The pictures that the rows allow."""
    several = len({row.run.path for row in rows}) > 1
    paired = any(differences(alike) for _, alike in settings(rows))
    ranked = any(len(trained_for_it(alike)) > 2 for _, alike in settings(rows))
    return ["minutes"] * several + ["paired"] * paired + ["ranks"] * ranked


def settings(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows that were asked the same, by a title of the question."""
    return [(title, list(alike)) for title, alike in groupby(rows, setting)]


def setting(row: Row) -> str:
    """Shots, and whether all classes have as many queries."""
    shot = row.result["shot"]
    return f"{shot} shot{'s' if shot > 1 else ''}" + (", unbalanced queries" if row.is_unbalanced else "")


def compared_with(rows: Sequence[Row]) -> str:
    """The name of the row that others are compared with; "" for none."""
    base = baseline(rows)
    return base.name if base else ""


def accuracies(rows: Sequence[Row]) -> Table:
    """The table of accuracies of one number of shots."""
    return Table(HEADER, [[Cell(text) for text in texts(row)] for row in rows], names=5)


def texts(row: Row) -> list[str]:
    """The cells of a row."""
    paper, seeds = row.published, row.group.over_seeds
    episodes = row.group.episodes
    return [
        label(row),
        row.trained_on,
        shots(row),
        "yes" if row.group.transductive else "no",
        row.external or "none",
        plus_minus(episodes.mean, episodes.ci95),
        f"{seeds.ci95:.2f} ({len(row.group.seeds)})" if seeds else "(1)",
        half_width(row.disjoint_ci95),
        plus_minus(paper.value, paper.interval) if paper else "",
        "" if row.gap is None else signed(row.gap),
        f"{row.band:g}" if paper else "",
        row.verdict,
        f"{row.minutes:.1f}",
        machine(row.run),
        row.run.environment["commit"][:7],
    ]


def label(row: Row) -> str:
    """The method, and how its test differs from the others'."""
    episodes = "" if row.result["episodes"] >= 5000 else f", {row.result['episodes']} episodes"
    changed = {key: value for key, value in row.result.get("at_test", {}).items() if key != "TASK.TEST.QUERY_ALPHA"}
    return row.name + "".join(f", {key} {value}" for key, value in changed.items()) + episodes


def picture_name(row: Row) -> str:
    """A row's name in a picture: a head on another's features has a star."""
    return f"{row.result['method']}*" if row.result.get("features_of") else row.name


def short_label(row: Row) -> str:
    """The same with the shots of training episodes, if any, and with what is special about the test."""
    trained = f" ({row.trained_at})" if row.trained_at else ""
    return label(row).replace(row.name, picture_name(row)) + trained


def shots(row: Row) -> str:
    """Shots of the training episodes."""
    return row.trained_at or "any"


def machine(run: Run) -> str:
    """Threads and cores."""
    return f"{run.environment['threads']} of {run.environment['cpus']} cores"


def differences(alike: Sequence[Row]) -> list[tuple[Row, Difference, str]]:
    """The rows of one setting against the one they are compared with, and the episodes won, equal and lost."""
    base = baseline(alike)
    compared = []
    for row in alike:
        if base is None or row is base:
            continue
        pair, wide = against(row, base)
        counts = f"{pair.win}/{pair.tie}/{pair.loss}"
        compared.append((row, Difference(short_label(row), pair.difference, pair.ci95, wide), counts))
    return compared


def paired_table(alike: Sequence[Row]) -> Table:
    """The table of differences."""
    base = baseline(alike)
    assert base is not None, "rows without one have no differences"
    lines = [
        [
            label(row),
            shots(row),
            f"{signed(d.value)} ± {d.ci95:.2f}",
            "" if d.wide is None else f"{signed(d.wide[0])} ± {d.wide[1]:.2f}",
            half_width(seeds_ci95(row, base)),
            counts,
        ]
        for row, d, counts in differences(alike)
    ]
    header = ["method", "trained at", f"difference to {base.name}", "over disjoint tasks", "± seeds", "win/tie/loss"]
    return Table(header, [[Cell(text) for text in line] for line in lines], names=2)


def csv_text(rows: Sequence[Row]) -> str:
    """All figures of a suite."""
    header = ["run", "name", "method", "learns_from", "trained_shot", "transductive", "external", "dataset", "split"]
    header += ["way", "shot", "query", "episodes", "mean", "ci95", "seeds", "seeds_ci95", "open_ci95", "paper"]
    header += [
        "paper_ci95",
        "source",
        "status",
        "difference",
        "band",
        "verdict",
        "minutes",
        "threads",
        "cores",
        "commit",
    ]
    lines = []
    for row in rows:
        r, paper, seeds, environment = row.result, row.published, row.group.over_seeds, row.run.environment
        line = [row.run.path.name, label(row), r["method"], row.trained_on, row.trained_at, r["transductive"]]
        line += [row.external, *(r[key] for key in ("dataset", "split", "way", "shot", "query", "episodes"))]
        line += [row.group.episodes.mean, row.group.episodes.ci95, len(row.group.seeds), seeds.ci95 if seeds else ""]
        line += ["" if row.disjoint_ci95 is None else row.disjoint_ci95]
        line += [paper.value, paper.interval, paper.source, paper.status] if paper else [""] * 4
        line += ["" if row.gap is None else row.gap, row.band if paper else "", row.verdict, row.minutes]
        line += [environment["threads"], environment["cpus"], environment["commit"]]
        lines.append([round(cell, 6) if isinstance(cell, float) else cell for cell in line])
    return as_csv(header, lines)


def draw(suite: str, rows: Sequence[Row], table: str) -> None:
    """Draw the pictures of a suite; each says from which table."""
    note = f"table sha256 {digest(table)}"
    points = {
        title: [Point(label(r), r.minutes, r.group.episodes.mean, r.group.episodes.ci95) for r in trained_for_it(alike)]
        for title, alike in settings(rows)
    }
    if "minutes" in drawn(rows):
        plot_points(IMAGES / f"{suite}_minutes.svg", points, "minutes of training, machine shared", "accuracy, %", note)
    pairs = {title: [d for _, d, _ in differences(alike)] for title, alike in settings(rows)}
    present = {title: pair for title, pair in pairs.items() if pair}
    if present:
        name = f"points above {compared_with(rows)}; (shots of training episodes), * on another's features"
        plot_differences(IMAGES / f"{suite}_paired.svg", present, name, note)

    if "ranks" in drawn(rows):
        panels = {title: ranks(trained_for_it(alike)) for title, alike in settings(rows)}
        plot_ranks(IMAGES / f"{suite}_ranks.svg", panels, note)


def trained_for_it(rows: Sequence[Row]) -> list[Row]:
    """The rows whose training episodes have the shots of the test, or that draw none; all, if none does."""
    return [row for row in rows if row.is_trained_for_test] or list(rows)


def ranks(rows: Sequence[Row]) -> list[Rank]:
    """The ranks of rows, as they are drawn."""
    return [Rank(picture_name(each.row), each.rank, each.best, each.worst) for each in ranking(rows)]


def digest(table: str) -> str:
    """A table's hash, which its pictures carry."""
    return hashlib.sha256(table.encode()).hexdigest()


def suites() -> list[str]:
    """The suites that have results."""
    return sorted(folder.name for folder in RESULTS.iterdir() if folder.is_dir())


def plus_minus(value: float, interval: float) -> str:
    """A number as the documents print it."""
    return f"{value:.2f} ± {interval:.2f}" if interval else f"{value:.2f}"


def half_width(interval: float | None) -> str:
    """Of an interval that may not be known."""
    return "" if interval is None else f"{interval:.2f}"


def signed(value: float) -> str:
    """A difference."""
    return f"{value:+.2f}".replace("-", "−")


def main() -> None:
    """Write all of it."""
    schemas()  # imports every method
    for suite in suites():
        rows, _ = standings(RESULTS / suite)
        table = csv_text(rows)
        write_text(RESULTS / f"{suite}.csv", table)
        draw(suite, rows, table)
    write_text(FILE, document(FILE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
