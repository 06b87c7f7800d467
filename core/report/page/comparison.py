"""Sections of a comparison of runs: accuracies, paired differences, and the episodes behind them."""

from __future__ import annotations

from collections.abc import Sequence

from ..compare import Compared, Comparison, Group
from .charts import Span, bubbles, intervals
from .render import Section

MOST_SCATTERS = 12  # charts of episodes on a page
LEVEL = 0.05  # of a test, as the intervals are of 95 %


def comparison_sections(compared: Sequence[Compared]) -> list[Section]:
    """The accuracies of every set of episodes, then the differences, wins and episodes of all comparisons."""
    sections = [_accuracies(setting, groups) for table in compared for setting, groups in table.settings.items()]
    comparisons = [c for table in compared for c in table.comparisons]
    if not comparisons:
        return sections
    return [*sections, _wins(comparisons), _forest(comparisons), _episodes(comparisons)]


def _accuracies(setting: str, groups: Sequence[Group]) -> Section:
    """A row for each run, or for the training seeds of one recipe."""
    rows = [
        Span(f"{group.name} ({_seeds(group)})", over.mean, over.mean - over.ci95, over.mean + over.ci95, number)
        for number, group in enumerate(groups)
        for over in [group.over_seeds or group.episodes]
    ]
    note = (
        f"{setting}. The bar of one run is its 95 % interval over the episodes; that of several training seeds is "
        "their 95 % interval."
    )
    return Section("Accuracy", "chart", {"chart": intervals(rows, "accuracy in %"), "note": note})


def _seeds(group: Group) -> str:
    return "1 seed" if len(group.seeds) == 1 else f"{len(group.seeds)} seeds"


def _forest(comparisons: Sequence[Comparison]) -> Section:
    """The paired difference of each comparison, on the same images and, below it, on other images."""
    rows = []
    for c in comparisons:
        p = c.paired
        name = f"{c.one.name} − {c.other.name}, {c.setting}"
        rows.append(Span(name, p.difference, p.difference - p.ci95, p.difference + p.ci95, 0))
        if c.disjoint:
            mean, ci95 = c.disjoint
            rows.append(Span("the same, allowing for other images of these classes", mean, mean - ci95, mean + ci95, 1))
    sentences = [f"{c.one.name} against {c.other.name} ({c.setting}): {verdict(c)}" for c in comparisons]
    values = {"chart": intervals(rows, "difference in points", [("no difference", 0.0)]), "sentences": sentences}
    return Section("Who is better?", "forest", values, wide=True)


def verdict(c: Comparison) -> str:
    """What the paired difference says, in a sentence or two."""
    p, better = c.paired, "better" if c.paired.difference > 0 else "worse"
    if p.difference - p.ci95 <= 0 <= p.difference + p.ci95:
        return f"{p.difference:+.2f} points, which may be chance: the 95 % interval holds 0."
    said = f"{abs(p.difference):.2f} points {better} on these images."
    if c.holm_t > LEVEL:
        said += f" Among so many comparisons that may be chance: p = {c.holm_t:.2f} after Holm's correction."
    return said + _with_other_images(c)


def _with_other_images(c: Comparison) -> str:
    """What the interval over disjoint tasks adds."""
    if c.disjoint is None:
        return ""
    mean, ci95 = c.disjoint
    if mean - ci95 <= 0 <= mean + ci95:
        return " With other images of these classes it might turn: that interval holds 0."
    agrees = (mean > 0) == (c.paired.difference > 0)
    return f" The interval that allows for other images of these classes says the {'same' if agrees else 'opposite'}."


def _wins(comparisons: Sequence[Comparison]) -> Section:
    rows = []
    for c in comparisons:
        counts = (c.paired.win, c.paired.tie, c.paired.loss)
        shares = [100 * count / sum(counts) for count in counts]
        rows.append((f"{c.one.name} against {c.other.name}", c.setting, counts, shares))
    note = "Episodes in which the first is better, both are equal, and the second is better."
    return Section("Won, tied, lost", "wins", {"rows": rows, "note": note})


def _episodes(comparisons: Sequence[Comparison]) -> Section:
    """A dot for each pair of accuracies in an episode."""
    charts = [
        (
            f"Upright {c.one.name}, across {c.other.name}: {c.setting}",
            bubbles(c.other.accuracy, c.one.accuracy, "accuracy in %", "accuracy in %"),
        )
        for c in comparisons[:MOST_SCATTERS]
    ]
    note = (
        "Each dot is the accuracy of both in an episode, the larger the more episodes. Above the dashed line the run "
        "of the upright axis is better."
    )
    if len(comparisons) > MOST_SCATTERS:
        note += f" The first {MOST_SCATTERS} of {len(comparisons)} comparisons."
    return Section("Episode by episode", "curves", {"charts": charts, "note": note}, wide=True)
