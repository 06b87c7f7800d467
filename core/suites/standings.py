"""The standings of a suite: what its collected runs reached, beside the published numbers.

A row is one recipe on one set of episodes; its training seeds are averaged. Our number is compared with a published one
where method, loss, data set, backbone, image size, way and shot agree, and where the training saw as many shots as the
test has or draws no episodes at all.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datasets import dataset
from ..errors import UserError
from ..paths import DATA
from ..registry import METHODS
from ..report.compare import Group, Spread, grouped, over_disjoint
from ..report.evaluations import Evaluation
from ..report.intervals import of_disjoint
from ..report.paired import Paired, paired
from ..report.stats import t_interval
from .collected import Run, read_runs
from .suite import words_of

BAND = 2.0  # points, where data/bands.csv has none; training seeds alone move a result by one to two
STREAMS = {"episodes": "episodes", "batches": "base images", "both": "episodes and base images"}


@dataclass(frozen=True)
class Published:
    """A row of data/published.csv that a result answers."""

    value: float
    interval: float  # half width of its 95 % interval; 0 = not printed
    source: str
    status: str


@dataclass(frozen=True)
class Row:
    """One recipe on one set of episodes."""

    members: Sequence[tuple[Run, Evaluation]]  # one for each training seed
    group: Group
    minutes: float  # of training, the mean over the seeds; of stages that are shared too
    published: Published | None
    band: float

    @property
    def run(self) -> Run:
        """The run of the first training seed."""
        return self.members[0][0]

    @property
    def result(self) -> Mapping[str, Any]:
        """result.json of the first training seed."""
        return self.members[0][1].result

    @property
    def name(self) -> str:
        """The suite's name of the run, or the YAML's words; a head on another's features says whose they are."""
        words = words_of(self.run.about["cfg"])
        if self.result.get("features_of"):
            return f"{self.result['method']} on {words[0]}'s features"
        return self.run.about.get("row") or " ".join(words)

    @property
    def trained_on(self) -> str:
        """What the stages learn from, in order."""
        config = self.run.config
        return ", then ".join(STREAMS[config["STAGE"][name]["STREAM"]] for name in config["STAGES"])

    @property
    def external(self) -> str:
        """Data from outside the benchmark: what an encoder has learned from, and word vectors."""
        parts = [self.result["external_data"]["weights"]] if self.result.get("external_data") else []
        if "semantics" in METHODS[self.result["method"]].needs:
            parts.append("word vectors")
        elif self.run.trains_on_words:
            parts.append("word vectors in training")
        return ", ".join(parts)

    @property
    def trained_at(self) -> str:
        """Shots of the training episodes, as 1 or 1-9; "" where no stage draws episodes."""
        shots = self.run.trained_shots
        return "" if not shots else str(shots[0]) if len(shots) == 1 else f"{shots[0]}-{shots[-1]}"

    @property
    def is_trained_for_test(self) -> bool:
        """Whether the training drew episodes of the shots of the test, or none at all."""
        return self.run.is_trained_for(self.result["shot"])

    @property
    def is_unbalanced(self) -> bool:
        """Whether some classes of an episode have more queries than others."""
        return not isinstance(self.result["query"], int)

    @property
    def gap(self) -> float | None:
        """Ours minus the published number."""
        return self.group.episodes.mean - self.published.value if self.published else None

    @property
    def verdict(self) -> str:
        """Whether ours lies within the band around the published number."""
        if self.gap is None:
            return ""
        return "within" if abs(self.gap) <= self.band else "above" if self.gap > 0 else "below"

    @property
    def disjoint_ci95(self) -> float | None:
        """Half width over tasks that share no image, of each task's mean over the seeds."""
        partitions = self.group.disjoint
        return None if partitions is None else of_disjoint(partitions.ravel(), partitions.shape[1])["ci95"]


def standings(folder: Path) -> tuple[list[Row], list[Run]]:
    """The rows of a suite's results, in the order of shots, balance and accuracy, and the runs that failed.

    Raises:
        UserError: where the folder holds no collected run.
    """
    runs, makers = read_runs(folder), _makers(folder.parent)
    by_recipe: dict[Any, list[tuple[Run, Evaluation]]] = {}
    for run in (run for run in runs if run.is_done):
        for evaluation in run.evaluations():
            by_recipe.setdefault((evaluation.key, evaluation.recipe), []).append((run, evaluation))
    rows = [_row(members, makers) for members in by_recipe.values()]
    rows.sort(key=lambda row: (row.result["way"], *_shots(row), row.is_unbalanced, -row.group.episodes.mean))
    return rows, [run for run in runs if not run.is_done]


def _shots(row: Row) -> tuple[bool, int | str]:
    """What sorts the shots of episodes; those of unequal classes, a text, come last."""
    shot = row.result["shot"]
    return isinstance(shot, str), shot


def against(row: Row, other: Row) -> tuple[Paired, Spread | None]:
    """The difference of two rows on the episodes that both have; episode i is the same for any number of them.

    Returns:
        The difference over episodes, and that over disjoint tasks; None where there are none.

    Raises:
        UserError: where these are other episodes.
    """
    count = min(len(row.group.accuracy), len(other.group.accuracy))
    if row.members[0][1].classes[:count] != other.members[0][1].classes[:count]:
        raise UserError(f"{row.run.path} and {other.run.path} were not tested on the same episodes.")
    return paired(row.group.accuracy[:count], other.group.accuracy[:count]), over_disjoint(row.group, other.group)


def seeds_ci95(row: Row, other: Row) -> float | None:
    """Half width of the 95 % t-interval of the difference over training seeds, on the episodes that both have.

    None unless both have the same seeds, and several.
    """
    mine, others = (
        {run.config["SEED"]: evaluation.accuracy for run, evaluation in each.members} for each in (row, other)
    )
    if mine.keys() != others.keys() or len(mine) == 1:
        return None
    count = min(len(row.group.accuracy), len(other.group.accuracy))
    return t_interval(np.array([mine[seed][:count].mean() - others[seed][:count].mean() for seed in mine])).ci95


def baseline(rows: Sequence[Row]) -> Row | None:
    """The row that the suite compares others with; of several, the one that is trained with the shots of its test."""
    named = [row for row in rows if row.name == row.run.about.get("against")]
    fitting = [row for row in named if row.is_trained_for_test]
    return next(iter(fitting if len(named) > 1 else named), None)


def _makers(results: Path) -> dict[str, Run]:
    """The collected run that trained each shared stage, in whichever suite it is."""
    suites = sorted({file.parents[1] for file in results.glob("*/*/cell.json")})
    done = [run for suite in suites for run in read_runs(suite) if run.is_done]
    return {stage: run for run in done for stage in run.about["shared"] if len(run.stage_minutes) > 1}


def _row(members: list[tuple[Run, Evaluation]], makers: Mapping[str, Run]) -> Row:
    members = sorted(members, key=lambda member: member[0].config["SEED"])
    minutes = float(np.mean([_minutes(run, makers) for run, _ in members]))
    run, evaluation = members[0]
    group = grouped([e for _, e in members])[0]
    return Row(members, group, minutes, _published(run, evaluation), _band(run, evaluation))


def _minutes(run: Run, makers: Mapping[str, Run]) -> float:
    """Minutes of all stages; those of a shared stage are its maker's, 0 where that is not collected."""
    names = run.config["STAGES"]
    missing = [name for name in names if name not in run.stage_minutes]
    others = {makers[stage].path: makers[stage] for stage in run.about["shared"] if stage in makers}  # each once
    elsewhere = (maker.stage_minutes.get(name, 0.0) for maker in others.values() for name in missing)
    return sum(run.stage_minutes.values()) + sum(elsewhere)


def _published(run: Run, evaluation: Evaluation) -> Published | None:
    """The published number that a result answers; a run that the suite names is a variant, which has none."""
    result, config = evaluation.result, run.config
    is_other = run.about.get("row") or result.get("features_of") or result.get("at_test")
    if is_other or not run.is_trained_for(result["shot"]):
        return None
    setting = {
        "method": result["method"],
        "variant": " ".join(words_of(run.about["cfg"])[1:]),
        "loss": config["OBJECTIVE"]["NAME"],
        "dataset": result["dataset"],
        "backbone": config["BACKBONE"]["NAME"],
        "size": str(config["DATASET"]["SIZE"] or dataset(result["dataset"]).native_size),
        "way": str(result["way"]),
        "shot": str(result["shot"]),
    }
    for row in _lines("published.csv"):
        if all(row[key] == value for key, value in setting.items()):
            return Published(float(row["value"]), float(row["interval"] or 0), row["source"], row["status"])
    return None


def _band(run: Run, evaluation: Evaluation) -> float:
    """Points that ours may lie off a published number."""
    return band_of(evaluation.result["dataset"], run.config["BACKBONE"]["NAME"], evaluation.result["method"])


def band_of(name: str, backbone: str, method: str) -> float:
    """Points that a result on a data set may lie off the published number: those of data/bands.csv, or BAND."""
    bands = {(line["dataset"], line["backbone"], line["method"]): float(line["band"]) for line in _lines("bands.csv")}
    return bands.get((name, backbone, method), BAND)


def _lines(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
