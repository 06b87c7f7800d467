"""Compare runs on the same episodes: which is better, by how much, and how sure that is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from .evaluations import Evaluation, by_setting, comparable, evaluated, refuse_external
from .intervals import of_disjoint
from .paired import Paired, holm, paired
from .stats import Interval, t_interval
from .tables import FORMATS, Cell, Table, as_csv, ranked

WIDE = 120  # characters in the header of a table; one that would be wider gets a row for each setting


@dataclass(frozen=True)
class Group:
    """One row of the table: a run, or several runs of one recipe that differ in their training seed alone."""

    name: str
    method: str
    transductive: bool
    external: str  # the weights from elsewhere that its network started from; "" = it learned from base classes alone
    accuracy: np.ndarray  # [n] in percent, of each episode; the mean over the training seeds
    seeds: list[float]  # mean accuracy of each training seed
    disjoint: np.ndarray | None  # [partitions, tasks] of disjoint tasks, the mean over the training seeds

    @property
    def episodes(self) -> Interval:
        """Mean and t-interval over the episodes."""
        return t_interval(self.accuracy)

    @property
    def over_seeds(self) -> Interval | None:
        """Mean and t-interval over the training seeds; None for one seed."""
        return t_interval(np.array(self.seeds)) if len(self.seeds) > 1 else None


class Spread(NamedTuple):
    """A mean and the half-width of its 95 % interval."""

    mean: float
    ci95: float

    def __str__(self) -> str:
        return f"{_signed(self.mean - self.ci95)} to {_signed(self.mean + self.ci95)}"


@dataclass(frozen=True)
class Comparison:
    """Two groups on one set of episodes, with p-values corrected for all comparisons of the call."""

    setting: str
    one: Group
    other: Group
    paired: Paired
    disjoint: Spread | None  # the difference over disjoint tasks
    holm_t: float = 1.0
    holm_wilcoxon: float = 1.0


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


@dataclass(frozen=True)
class Compared:
    """RUNs that share sets of episodes: the groups of each set, and their comparisons."""

    settings: dict[str, list[Group]]
    comparisons: list[Comparison]


def compare(
    paths: Sequence[Path],
    all_pairs: bool = False,
    each: bool = False,
    external: bool = False,
    say: Callable[[str], None] = _to_stderr,
) -> list[Compared]:
    """Compare RUNs; those that were not evaluated, or share their episodes with no other, are skipped.

    Args:
        paths: of the RUNs.
        all_pairs: compare every pair, not every RUN with the first.
        each: keep the training seeds of one recipe apart.
        external: compare networks that started from weights learned elsewhere with others.
        say: called with a line for each RUN that is skipped.

    Raises:
        UserError: where the runs were not evaluated on the same episodes, or are the same, or only some of them know
            more than base classes.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("The same RUN is given twice; name each once.")
    kept, not_evaluated = evaluated(paths)
    tables, alone = comparable(kept)
    for line in [*not_evaluated, *alone]:
        say(f"skipped  {line}")
    if not external:
        refuse_external([e for table in tables for same in table for e in same])
    of_tables = [part for table in tables for part in _with_equal_rows(by_setting(table), each)]
    pairs = [[c for name, groups in t.items() for c in _compared(name, groups, all_pairs)] for t in of_tables]
    rest = iter(corrected([c for of_table in pairs for c in of_table]))  # one correction for the whole call
    pairs = [[next(rest) for _ in of_table] for of_table in pairs]
    return [Compared(settings, comparisons) for settings, comparisons in zip(of_tables, pairs, strict=True)]


def as_tables(compared: Sequence[Compared], all_pairs: bool = False, form: str = "text") -> str:
    """The tables of a comparison as text in one of FORMATS, or csv."""
    comparisons = [c for table in compared for c in table.comparisons]
    if form == "csv":
        return _csv(comparisons) if comparisons else _accuracies_csv([table.settings for table in compared])
    shown = []
    for table in compared:
        differences = [_differences(table.comparisons, all_pairs, len(comparisons))] if table.comparisons else []
        shown += [_accuracies(table.settings), *differences]
    return "\n\n".join(FORMATS[form](table) for table in shown)


def grouped(evaluations: Sequence[Evaluation], each: bool = False) -> list[Group]:
    """Evaluations of the same episodes in groups: the training seeds of one recipe are one group, unless `each`."""
    by_recipe: dict[tuple, list[Evaluation]] = {}
    for e in evaluations:
        recipe = None if each else e.recipe
        by_recipe.setdefault((e.path,) if recipe is None else recipe, []).append(e)
    groups = []
    for members in by_recipe.values():
        seeds = [e.result.get("training_seed") for e in members]
        if len(set(seeds)) < len(seeds):
            raise UserError(
                f"{members[0].run} and {members[1].run} are runs of one config, and two of them have the same "
                "training seed; leave one out, or give --each to compare them run by run."
            )
        accuracy = np.mean([e.accuracy for e in members], axis=0)
        means = [float(e.accuracy.mean()) for e in members]
        first = min(members, key=lambda e: e.result.get("training_seed") or 0)  # in whatever order they are listed
        partitions = _common_partitions([e.disjoint for e in members])
        disjoint = None if partitions is None else np.mean(partitions, axis=0)
        names = (_name(first), first.result["method"], first.result["transductive"], first.external)
        groups.append(Group(*names, accuracy, means, disjoint))
    return sorted(groups, key=lambda group: bool(group.external))


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with both p-values corrected for the number of comparisons."""
    by_t = holm([c.paired.p_t for c in comparisons])
    by_rank = holm([c.paired.p_wilcoxon for c in comparisons])
    zipped = zip(comparisons, by_t, by_rank, strict=True)
    return [replace(c, holm_t=t, holm_wilcoxon=rank) for c, t, rank in zipped]


def _compared(setting: str, groups: Sequence[Group], all_pairs: bool) -> list[Comparison]:
    pairs = combinations(groups, 2) if all_pairs else [(groups[0], group) for group in groups[1:]]
    return [
        Comparison(setting, other, one, paired(other.accuracy, one.accuracy), over_disjoint(other, one))
        for one, other in pairs
    ]


def over_disjoint(one: Group, other: Group) -> Spread | None:
    """The difference over disjoint tasks; None unless both were evaluated on them."""
    partitions = _common_partitions([one.disjoint, other.disjoint])
    if partitions is None:
        return None
    interval = of_disjoint((partitions[0] - partitions[1]).ravel(), partitions[0].shape[1])
    return Spread(interval["mean"], interval["ci95"])


def _common_partitions(arrays: Sequence[np.ndarray | None]) -> list[np.ndarray] | None:
    """The partitions that all arrays have; n partitions are the first n of any larger number."""
    present = [array for array in arrays if array is not None]
    if len(present) < len(arrays):
        return None
    return [array[: min(map(len, present))] for array in present]


def _with_equal_rows(settings: Mapping[str, list[Evaluation]], each: bool) -> list[dict[str, list[Group]]]:
    """The groups of each setting; settings whose groups differ, as other arguments were changed, are parted."""
    tables: dict[tuple[str, ...], dict[str, list[Group]]] = {}
    for setting, evaluations in settings.items():
        groups = grouped(evaluations, each)
        tables.setdefault(tuple(group.name for group in groups), {})[setting] = groups
    return list(tables.values())


def _name(e: Evaluation) -> str:
    """The run folder's name; then the method whose head classified, if another; then arguments changed at test."""
    head = f" + {e.result['method']}" if e.result.get("features_of") else ""
    return e.run.name + head + "".join(f", {key} {value}" for key, value in e.result.get("at_test", {}).items())


def _accuracies(settings: dict[str, list[Group]]) -> Table:
    """The table of accuracies: a row for each group and a column for each setting, or a row for each of both."""
    columns = []
    for groups in settings.values():
        parts = [[group for group in groups if bool(group.external) is external] for external in (False, True)]
        ranks = [rank for part in parts for rank in ranked([round(group.episodes.mean, 2) for group in part])]
        columns.append([Cell(_accuracy(g), rank) for g, rank in zip(groups, ranks, strict=True)])
    first = next(iter(settings.values()))
    names = [[Cell(g.name), Cell(_marked(g)), Cell(str(len(g.seeds)))] for g in first]
    several = any(len(g.seeds) > 1 for g in first)
    note = "± is the half-width of a 95 % t-interval over the episodes"
    note += ", and over the training seeds where there are several." if several else "."
    note += " † transductive: an answer depends on the other queries." if any(g.transductive for g in first) else ""
    weights = list(dict.fromkeys(g.external for g in first if g.external))
    note += f" ‡ external data: the network started from {', '.join(weights)}." if weights else ""
    if len(settings) > 1 and sum(map(len, settings)) > WIDE:
        in_rows = zip(settings, columns, strict=True)
        rows = [[Cell(s), *n, cell] for s, column in in_rows for n, cell in zip(names, column, strict=True)]
        return Table(["setting", "run", "method", "seeds", "accuracy"], rows, note, names=3)
    rows = [name + list(cells) for name, *cells in zip(names, *columns, strict=True)]
    return Table(["run", "method", "seeds", *settings], rows, note, names=2)


def _marked(group: Group) -> str:
    """The method with what must be known of its answers."""
    return group.method + ("†" if group.transductive else "") + ("‡" if group.external else "")


def _accuracy(group: Group) -> str:
    return str(group.over_seeds or group.episodes)


def _differences(comparisons: Sequence[Comparison], all_pairs: bool, count: int) -> Table:
    """The table of differences: a row for each comparison; p is corrected for the `count` comparisons of the call."""
    several = len({c.setting for c in comparisons}) > 1
    names = ["run"] + ["against"] * all_pairs + ["setting"] * several
    header = [*names, "difference", "95 % interval", "95 %, disjoint tasks", "p (t)", "p (Wilcoxon)", "win/tie/loss"]
    rows = []
    for c in comparisons:
        p = c.paired
        texts = [c.one.name] + [c.other.name] * all_pairs + [c.setting] * several
        texts += [_signed(p.difference), str(Spread(p.difference, p.ci95)), str(c.disjoint or "-")]
        rows.append([Cell(text) for text in [*texts, _p(c.holm_t), _p(c.holm_wilcoxon), f"{p.win}/{p.tie}/{p.loss}"]])
    against = "all pairs" if all_pairs else f"each run against the first, {comparisons[0].other.name}"
    note = (
        f"Paired by episode, {against}. Each interval is for one comparison: with these images, and (disjoint tasks) "
        f"with other images of these classes; p is corrected by Holm for {count}."
    )
    if any(len(group.seeds) > 1 for c in comparisons for group in (c.one, c.other)):
        note += (
            " Intervals and p take the trained networks as they are (of several training seeds, their mean): p may be "
            "tiny where seeds differ much. Whether another training would agree, the ± over seeds above says."
        )
    return Table(header, rows, note, names=len(names))


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else "<0.0001"


def _csv(comparisons: Sequence[Comparison]) -> str:
    """A line for each comparison, with all figures of both groups."""
    sides = ("accuracy", "ci95", "seeds", "seeds_ci95")
    header = ["setting", "run", "method", "against", "against_method", *sides, *(f"against_{side}" for side in sides)]
    header += [field.name.replace("ci95", "difference_ci95") for field in fields(Paired)]
    header += ["holm_t", "holm_wilcoxon", "disjoint_difference", "disjoint_ci95"]
    rows = []
    for c in comparisons:
        names = [c.setting, c.one.name, c.one.method, c.other.name, c.other.method]
        rows.append(
            [
                *names,
                *_side(c.one),
                *_side(c.other),
                *astuple(c.paired),
                c.holm_t,
                c.holm_wilcoxon,
                *(c.disjoint or ("", "")),
            ]
        )
    return as_csv(header, rows)


def _accuracies_csv(tables: Sequence[dict[str, list[Group]]]) -> str:
    """A line for each group in each setting, where there is nothing to compare."""
    named = [(setting, group) for settings in tables for setting, groups in settings.items() for group in groups]
    rows = [[setting, g.name, g.method, *_side(g)] for setting, g in named]
    return as_csv(["setting", "run", "method", "accuracy", "ci95", "seeds", "seeds_ci95"], rows)


def _side(group: Group) -> list[object]:
    seeds = group.over_seeds
    return [group.episodes.mean, group.episodes.ci95, len(group.seeds), seeds.ci95 if seeds else ""]
