"""Read evaluations from their folders, and find those that may be compared: the ones on the same episodes."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..config.read import parse
from ..config.roles import recipe
from ..errors import UserError

# The entries of result.json that determine the episodes of an evaluation.
EPISODES = ("dataset", "split", "fingerprint", "way", "shot", "query", "seed", "episodes")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation folder."""

    path: Path
    result: dict[str, Any]

    @property
    def run(self) -> Path:
        """The run folder that it is in."""
        return self.path.parents[2]

    @property
    def key(self) -> tuple:
        """What determines its episodes."""
        return tuple(self.result[name] for name in EPISODES)

    @cached_property
    def _columns(self) -> tuple[np.ndarray, list[str]]:
        """Accuracy [n] in percent and classes of each episode."""
        accuracy, classes = _read_episodes(self.path / "episodes.csv")
        if len(accuracy) != self.result["episodes"]:
            count = f"{len(accuracy)} of {self.result['episodes']} episodes"
            raise UserError(f"{self.path / 'episodes.csv'} lists {count}; evaluate that run again.")
        return accuracy, classes

    @cached_property
    def disjoint(self) -> np.ndarray | None:
        """Accuracy [partitions, tasks] in percent of the disjoint tasks; None where there are none."""
        interval = self.result.get("intervals", {}).get("disjoint")
        if not interval:
            return None
        accuracy, _ = _read_episodes(self.path / "disjoint.csv")
        if len(accuracy) != interval["partitions"] * interval["n"]:
            raise UserError(f"{self.path / 'disjoint.csv'} does not fit its result.json; evaluate that run again.")
        return accuracy.reshape(interval["partitions"], interval["n"])

    @property
    def accuracy(self) -> np.ndarray:
        """Accuracy of each episode in percent, [n]."""
        return self._columns[0]

    @property
    def classes(self) -> list[str]:
        """Classes of each episode, as the file writes them."""
        return self._columns[1]

    @cached_property
    def recipe(self) -> tuple | None:
        """What was trained and how, without the training seed; None where the run's config cannot be read.

        Evaluations of the same episodes with equal recipes are those of several training seeds.
        """
        try:
            trained = recipe(parse((self.run / "config.yaml").read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            return None
        identity = trained | {"at_test": self.result.get("at_test", {})}
        return self.result["method"], json.dumps(identity, sort_keys=True, default=str)


def _read_episodes(file: Path) -> tuple[np.ndarray, list[str]]:
    """Accuracy [n] in percent and classes of each line."""
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened, strict=True))
        accuracy = np.array([100 * int(row["correct"]) / int(row["queries"]) for row in rows])
        return accuracy, [row["classes"] for row in rows]
    except (OSError, ValueError, KeyError, TypeError, csv.Error, ZeroDivisionError) as error:
        raise UserError(f"{file} is not a readable list of episodes ({error}); evaluate that run again.") from error


def read(folder: Path) -> Evaluation:
    """Read an evaluation's result.json.

    Raises:
        UserError: where it is damaged, or so old that it lacks entries that identify its episodes.
    """
    file = folder / "result.json"
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        missing = [name for name in (*EPISODES, "method", "transductive", "mean") if name not in result]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} is not a readable result ({error}); evaluate that run again.") from error
    if missing:
        raise UserError(f"{file} lacks {', '.join(missing)}, so its episodes are not known; evaluate that run again.")
    return Evaluation(folder, result)


def of_run(path: Path) -> list[Evaluation]:
    """The evaluations that a RUN names: that folder itself, or those of a run folder.

    Of a run folder, evaluations of the best checkpoint are preferred, by the method it trained, in full precision, with
    the arguments of training.

    Raises:
        UserError: where there are none, or two of the same episodes.
    """
    if (path / "result.json").is_file():
        return [read(path.resolve())]
    evaluations = [read(file.parent.resolve()) for file in sorted(path.glob("eval/*/*/result.json"))]
    if not evaluations:
        raise UserError(f"{path} holds no evaluation; give a run folder that was evaluated, or an evaluation's folder.")
    plain = [e for e in evaluations if e.result.get("precision") == "float32" and not e.result.get("features_of")]
    plain = [e for e in plain if not e.result.get("at_test")] or plain
    best = [e for e in plain if e.path.parent.name.startswith("ebest_")] or plain or evaluations
    for evaluation in best:
        twins = [str(e.path) for e in best if e.key == evaluation.key]
        if len(twins) > 1:
            raise UserError(f"{path} holds several evaluations of the same episodes; give one of {', '.join(twins)}.")
    return best


def common(paths: Sequence[Path]) -> list[list[Evaluation]]:
    """The evaluations of all RUNs on each set of episodes that they have in common, in the order of `paths`.

    Raises:
        UserError: where they have none in common, with what differs.
    """
    runs = [of_run(path) for path in paths]
    keys = [one.key for one in runs[0] if all(one.key in [e.key for e in run] for run in runs)]
    if not keys:
        raise UserError(_why_not(paths, runs))
    sets = [[next(e for e in run if e.key == key) for run in runs] for key in keys]
    for evaluations in sets:
        for other in evaluations[1:]:
            if other.classes != evaluations[0].classes:
                raise UserError(
                    f"{other.path} and {evaluations[0].path} claim the same episodes, but their episodes.csv list "
                    "other classes; evaluate both again."
                )
    return sets


def _why_not(paths: Sequence[Path], runs: list[list[Evaluation]]) -> str:
    """The sentence for runs without common episodes: the nearest pair of evaluations, and how they differ."""
    for path, run in zip(paths[1:], runs[1:], strict=True):
        pairs = [(one, other) for one in runs[0] for other in run]
        if any(one.key == other.key for one, other in pairs):
            continue
        one, other = min(pairs, key=lambda pair: len(_differences(*pair)))
        return (
            f"{path} and {paths[0]} were not evaluated on the same episodes ({'; '.join(_differences(one, other))}); "
            "evaluate both with the same settings, then compare."
        )
    return "No set of episodes is common to all runs, though each pair has one; compare fewer runs at a time."


def _differences(one: Evaluation, other: Evaluation) -> list[str]:
    pairs = zip(EPISODES, other.key, one.key, strict=True)
    return [f"{name} {str(a)[:16]} against {str(b)[:16]}" for name, a, b in pairs if a != b]
