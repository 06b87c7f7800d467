"""Collected runs: what a suite keeps of a run, without its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..registry import METHODS, OBJECTIVES
from ..report import evaluations
from ..report.evaluations import Evaluation


@dataclass(frozen=True)
class Run:
    """A collected run."""

    path: Path
    about: Mapping[str, Any]  # cell.json

    @property
    def is_done(self) -> bool:
        """Whether it has results; else it failed."""
        return bool(self.about["state"] == "done")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """What was trained."""
        tree: Mapping[str, Any] = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
        return tree

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """Versions, machine and commit."""
        content: Mapping[str, Any] = json.loads((self.path / "env.json").read_text(encoding="utf-8"))
        return content

    @cached_property
    def stage_minutes(self) -> dict[str, float]:
        """Minutes that the steps of each stage took, which this run trained itself; without validation."""
        minutes: dict[str, float] = {}
        speeds: dict[str, float] = {}
        done = 0
        file = self.path / "metrics.jsonl"  # which a run without stages lacks
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            row = json.loads(line)
            stage, done = row["stage"], done if row["stage"] in minutes else 0
            # A run that was stopped after an epoch's last step has no speed of it; that of the epoch before stands in.
            speeds[stage] = row["steps_per_second"] or speeds.get(stage, 0.0)
            seconds = (row["step"] - done) / speeds[stage] if speeds[stage] else 0.0
            minutes[stage] = minutes.get(stage, 0.0) + seconds / 60
            done = row["step"]
        return minutes

    def evaluations(self) -> list[Evaluation]:
        """Its evaluations."""
        return [evaluations.read(file.parent) for file in sorted(self.path.glob("eval/*/*/result.json"))]

    @property
    def trained_shots(self) -> range:
        """Shots of the training episodes; none where no stage draws episodes, so that the training knows no shot."""
        if all(stage["STREAM"] == "batches" for stage in self._stages):
            return range(0)
        shot = self.config["TASK"]["TRAIN"]["SHOT"] or self.config["TASK"]["TEST"]["SHOT"]
        least, most = shot if isinstance(shot, list) else (shot, shot)
        return range(least, most + 1)

    def is_trained_for(self, shot: int) -> bool:
        """Whether the training drew episodes of this shot, or none at all."""
        return not self.trained_shots or shot in self.trained_shots

    @property
    def trains_on_words(self) -> bool:
        """Whether the method or the loss of a stage reads word vectors."""
        methods = [METHODS[stage["METHOD"] or self.config["METHOD"]["NAME"]] for stage in self._stages]
        losses = [OBJECTIVES[stage["OBJECTIVE"]["NAME"] or self.config["OBJECTIVE"]["NAME"]] for stage in self._stages]
        return any("semantics" in method.needs for method in methods) or any(loss.needs_semantics for loss in losses)

    @property
    def _stages(self) -> list[Mapping[str, Any]]:
        return [self.config["STAGE"][name] for name in self.config["STAGES"]]


def read_runs(folder: Path) -> list[Run]:
    """The collected runs of a suite.

    Raises:
        UserError: where there are none.
    """
    files = sorted(folder.glob("*/cell.json"))
    if not files:
        raise UserError(f"{folder} holds no collected run; run run_suite.py SUITE --collect {folder.parent} first.")
    return [Run(file.parent, json.loads(file.read_text(encoding="utf-8"))) for file in files]
