"""Read evaluations from their folders, and find those that may be compared: the ones on the same episodes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..config.read import parse
from ..config.roles import recipe, saved_keys
from ..errors import UserError
from ..files import sha256
from ..kinds import misfit, parse_json
from .run import RunFolder, kept_hash, kept_networks

# The entries of result.json that determine the episodes of an evaluation.
EPISODES = ("dataset", "split", "fingerprint", "way", "shot", "query", "seed", "episodes")

# Keys that say what is measured, and that neither the episodes nor the recipe name.
MEASURED = ("EVAL.BASE_IMAGES", "EVAL.ENSEMBLE")

SHAPE = (int, str)
DISJOINT = {"partitions": int, "n": int}
RESULT = {
    **{"dataset": str, "split": str, "fingerprint": str, "way": SHAPE, "shot": SHAPE, "query": SHAPE, "seed": int},
    **{"episodes": int, "method": str, "transductive": bool, "mean": float, "training_seed?": (int, None)},
    **{"features_of?": (str, None), "at_test?": {"": object}, "intervals?": {"disjoint?": (DISJOINT, None)}},
    **{"external_data?": ({"weights": str}, None)},
}


FORMER = "is of former weights of its checkpoint; evaluate that run again"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation folder."""

    path: Path
    result: dict[str, Any]

    @property
    def run(self) -> Path:
        """The run folder that it is in, or its own where it lies in none."""
        return self.path.parents[2] if self.path.parent.parent.name == "eval" else self.path

    @property
    def is_stale(self) -> bool:
        """Whether its checkpoint, or a network that its run kept, was replaced since, as it is where a run goes on."""
        if "networks" in self.result:
            kept = self.result.get("kept_sha256")  # older results do not say it
            return kept is not None and bool(kept_networks(self.run)) and kept_hash(self.run) != kept
        checkpoint = self.run / str(self.result.get("checkpoint"))
        if not checkpoint.is_file():
            return False
        return _hash(checkpoint, checkpoint.stat().st_mtime_ns) != self.result.get("checkpoint_sha256")

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

    @property
    def external(self) -> str:
        """The weights from elsewhere that the network started from; "" where it learned from base classes alone."""
        return (self.result.get("external_data") or {}).get("weights", "")

    @cached_property
    def recipe(self) -> tuple | None:
        """What was trained and how, without the training seed; None where the run's config cannot be read.

        What is measured is part of it, be it the config's or changed at test. Evaluations of the same episodes with
        equal recipes are those of several training seeds.
        """
        try:
            tree = parse((self.run / "config.yaml").read_text(encoding="utf-8"))
            trained, measured = recipe(tree), saved_keys(tree, "measures")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            return None
        at_test = {key: measured[key] for key in MEASURED} | self.result.get("at_test", {})
        has_learned = "checkpoint_sha256" in self.result
        if not has_learned:  # the episodes of a training and of its validation have no part in the network
            trained = {
                key: value for key, value in trained.items() if not key.startswith("TASK.") and ".VAL." not in key
            }
        identity = trained | {"at_test": at_test, "trained": has_learned}
        return self.result["method"], json.dumps(identity, sort_keys=True, default=str)


@lru_cache
def _hash(file: Path, _: int) -> str:
    """The SHA-256 of a file, computed once for each time of change."""
    return sha256(file)


def _read_episodes(file: Path) -> tuple[np.ndarray, list[str]]:
    """Accuracy [n] in percent and classes of each line; the file may be packed, with .gz behind its name."""
    packed = file.with_name(f"{file.name}.gz")
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.is_file() else file.read_bytes()
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
        accuracy = np.array([100 * int(row["correct"]) / int(row["queries"]) for row in rows])
        return accuracy, [row["classes"] for row in rows]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, csv.Error, ZeroDivisionError) as error:
        raise UserError(f"{file} is not a readable list of episodes ({error}); evaluate that run again.") from error


def read(folder: Path) -> Evaluation:
    """Read an evaluation's result.json.

    Raises:
        UserError: where it is damaged, or so old that it lacks entries that identify its episodes.
    """
    file = folder / "result.json"
    try:
        result = parse_json(file.read_text(encoding="utf-8"), {"": object})
        missing = [name for name in (*EPISODES, "method", "transductive", "mean") if name not in result]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} is not a readable result ({error}); evaluate that run again.") from error
    if missing:
        raise UserError(f"{file} lacks {', '.join(missing)}, so its episodes are not known; evaluate that run again.")
    place = misfit(result, RESULT)
    if place:
        raise UserError(f"{file} is not a readable result ({place} is of another kind); evaluate that run again.")
    return Evaluation(folder, result)


def of_run(path: Path) -> list[Evaluation]:
    """The evaluations that a RUN names: that folder itself, or those of a run folder.

    Of a run folder, evaluations of the best checkpoint are preferred, by the method it trained, in full precision, with
    the arguments of training. Those of weights that it no longer holds are left out.

    Raises:
        UserError: where there are none, or two of the same episodes.
    """
    if (path / "result.json").is_file():
        return [read(path.resolve())]
    evaluations = [evaluation for evaluation in _in_run(path) if not evaluation.is_stale]
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


def _in_run(path: Path) -> list[Evaluation]:
    """All evaluations of a run folder."""
    return [read(file.parent.resolve()) for file in sorted(path.glob("eval/*/*/result.json"))]


def evaluated(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The RUNs that hold an evaluation, and a line for each other one, and for each evaluation of former weights.

    Raises:
        UserError: where a path does not exist, or no RUN holds an evaluation.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UserError(f"{', '.join(missing)}: no such folder; give run folders or evaluations' folders.")
    reasons = {path: _no_evaluation(path) for path in paths}
    lines = [f"{path}: {reason}" for path, reason in reasons.items() if reason]
    if len(lines) == len(paths):
        raise UserError(f"Nothing can be compared ({'; '.join(lines)}); give run folders that were evaluated.")
    kept = [path for path, reason in reasons.items() if not reason]
    stale = [evaluation for path in kept if not (path / "result.json").is_file() for evaluation in _in_run(path)]
    lines += [f"{e.path}: {FORMER}" for e in stale if e.is_stale]
    return kept, lines


def _no_evaluation(path: Path) -> str:
    """Why there is nothing to compare in a RUN; "" where there is."""
    if (path / "result.json").is_file():
        return ""
    evaluations = _in_run(path)
    if evaluations:
        return FORMER if all(evaluation.is_stale for evaluation in evaluations) else ""
    run = RunFolder(path)
    return f"holds no evaluation (training: {run.state()})" if run.config.is_file() else "is no run folder"


def comparable(paths: Sequence[Path]) -> tuple[list[list[list[Evaluation]]], list[str]]:
    """The tables of a comparison, and a line for each RUN that is in none.

    A table lists sets of episodes; each set is the evaluations of the same RUNs, in the order of `paths`. There is one
    table where all RUNs have a set of episodes in common. Else each set that several RUNs share is in the table of
    these RUNs.

    Raises:
        UserError: where no two RUNs have a set of episodes in common, with what differs.
    """
    runs = [of_run(path) for path in paths]
    owners: dict[tuple, tuple[int, ...]] = {}
    for key in dict.fromkeys(e.key for run in runs for e in run):
        owners[key] = tuple(number for number, run in enumerate(runs) if any(e.key == key for e in run))
    everybody = tuple(range(len(runs)))
    shared = {key: group for key, group in owners.items() if group == everybody}
    shared = shared or {key: group for key, group in owners.items() if len(group) > 1}
    if not shared:
        raise UserError(_why_not(paths, runs))
    tables: dict[tuple[int, ...], list[list[Evaluation]]] = {}
    for key, group in shared.items():
        same_episodes = [next(e for e in runs[number] if e.key == key) for number in group]
        _refuse_other_classes(same_episodes)
        tables.setdefault(group, []).append(same_episodes)
    alone = sorted(set(everybody) - {number for group in tables for number in group})
    return list(tables.values()), [f"{paths[n]}: no other RUN was evaluated on its episodes" for n in alone]


def by_setting(table: Sequence[list[Evaluation]]) -> dict[str, list[Evaluation]]:
    """The sets of episodes of a table, by a name for each: queries and data are named where nothing else differs."""
    names = [_setting(same[0]) for same in table]
    for key, length in (("query", None), ("fingerprint", 8)):
        if len(set(names)) < len(names):
            values = [str(same[0].result[key])[:length] for same in table]
            names = [f"{name}, {key} {value}" for name, value in zip(names, values, strict=True)]
    return dict(zip(names, table, strict=True))


def _setting(e: Evaluation) -> str:
    r = e.result
    return f"{r['dataset']} {r['split']} {r['way']}-way {r['shot']}-shot, {r['episodes']} episodes, seed {r['seed']}"


def refuse_external(evaluations: Sequence[Evaluation]) -> None:
    """Refuse networks that know more than the base classes beside those that do not."""
    some = [e for e in evaluations if e.external]
    others = [e for e in evaluations if not e.external]
    if some and others:
        raise UserError(
            f"{some[0].run} started from {some[0].external}, learned from external data, and {others[0].run} learned "
            "from base classes alone, so a difference says little about their methods; give --external to compare them."
        )


def _refuse_other_classes(evaluations: Sequence[Evaluation]) -> None:
    for other in evaluations[1:]:
        if other.classes != evaluations[0].classes:
            raise UserError(
                f"{other.path} and {evaluations[0].path} claim the same episodes, but their episodes.csv list "
                "other classes; evaluate both again."
            )


def _why_not(paths: Sequence[Path], runs: list[list[Evaluation]]) -> str:
    """The sentence for runs without common episodes: the nearest evaluations of the first two, and how they differ."""
    differences: list[list[str]] = [_differences(one, other) for one in runs[0] for other in runs[1]]
    nearest: list[str] = min(differences, key=len)
    return (
        f"{paths[1]} and {paths[0]} were not evaluated on the same episodes ({'; '.join(nearest)}); "
        "evaluate both with the same settings, then compare."
    )


def _differences(one: Evaluation, other: Evaluation) -> list[str]:
    pairs = zip(EPISODES, other.key, one.key, strict=True)
    return [f"{name} {str(a)[:16]} against {str(b)[:16]}" for name, a, b in pairs if a != b]
