"""The run folder: everything a run leaves behind, each file written whole or not at all.

checkpoint/<DataSet>_<yaml stem>[_s<seed>][_<tag>]/
    config.yaml  diff.txt  env.json  train.log  metrics.jsonl  tb/  status.json
    last.pth  ebest_<N>way_<K>shot.pth
    eval/<checkpoint stem>/<split>_<N>w<K>s_q<Q>_seed<seed>_<episodes>[_<another method>][_bf16]/
        result.json  episodes.csv  per_class.csv  confusion.csv  disjoint.csv
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_json, write_text


def run_name(dataset: str, stem: str, seed: int, tag: str) -> str:
    """Name of a run folder; a data set called folder:PATH is named by its last part."""
    if tag and not re.fullmatch(r"[\w.-]+", tag):
        raise UserError(f"--tag is {tag!r}, but it ends a folder's name; use letters, digits, '.', '-' and '_' alone.")
    parts = [Path(dataset.removeprefix("folder:")).name, stem]
    return "_".join(parts + ([f"s{seed}"] if seed else []) + ([tag] if tag else []))


class RunFolder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config(self) -> Path:
        """The configuration of the run."""
        return self.path / "config.yaml"

    def begin(self, config: str, diff: str, differing: Sequence[str], resume: bool, overwrite: bool) -> None:
        """Claim the folder for a configuration.

        Args:
            config: the configuration, as YAML.
            diff: how it differs from the defaults.
            differing: keys in which the configuration of a run that is there already differs.
            resume: go on with that run.
            overwrite: delete it.

        Raises:
            UserError: where the folder holds another configuration, or a run that was not asked to go on.
        """
        if overwrite and self.path.exists():
            shutil.rmtree(self.path)
        if self.config.is_file():
            if differing:
                raise UserError(
                    f"{self.path} holds a run of another config (differs in {', '.join(differing)}); "
                    "give --tag NAME for a folder of its own, or --overwrite to delete that run."
                )
            if not resume:
                raise UserError(
                    f"{self.path} holds this run already ({self.state()}); give --resume to go on with it, "
                    "--tag NAME for another, or --overwrite to delete it and start again."
                )
        write_text(self.config, config)
        write_text(self.path / "diff.txt", diff)

    @property
    def last(self) -> Path:
        """The checkpoint that a run resumes from."""
        return self.path / "last.pth"

    def best(self, way: int, shot: int) -> Path:
        """The checkpoint that did best on the val split, or the last one where the stage selects that."""
        return self.path / f"ebest_{way}way_{shot}shot.pth"

    def state(self) -> str:
        """'running', 'done' or 'failed'."""
        try:
            return json.loads((self.path / "status.json").read_text(encoding="utf-8"))["state"]
        except (OSError, ValueError, KeyError):
            return "unfinished"

    def set_state(self, state: str, **details: Any) -> None:
        """Record running | done | failed, and why."""
        write_json(self.path / "status.json", {"state": state, **details})

    def keep_metrics(self, records: int) -> None:
        """Forget the records after the first `records`: those a resumed run will write again."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        write_text(path, "".join(lines[:records]))

    def add_metrics(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
