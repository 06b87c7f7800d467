"""The run folder: everything a run leaves behind, each file written whole or not at all.

checkpoint/<DataSet>_<yaml stem>[_s<seed>][_<tag>]/
    config.yaml  diff.txt  env.json  train.log  metrics.jsonl  tb/  epochs/  status.json
    last.pth  ebest_<N>way_<K>shot.pth  .lock (while it is trained)
    eval/<checkpoint stem>/<split>_<N>w<K>s_q<Q>_seed<seed>_<episodes>[_<another method>][_bf16]/
        result.json  episodes.csv  per_class.csv  confusion.csv  disjoint.csv  report.html
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import remove_abandoned_files, sha256, write_json, write_text, writing
from ..locks import Holder, Lock, is_held, this_process

# What a run writes into its folder; config.yaml goes last when it is deleted, so that the folder stays a run's.
WRITTEN = (
    "eval",
    "tb",
    "epochs",
    "*.pth",
    "metrics.jsonl",
    "train.log",
    "env.json",
    "status.json",
    "diff.txt",
    "config.yaml",
)
MARKS = ("diff.txt", "env.json", "status.json", "metrics.jsonl", "last.pth")  # two of them make a folder a run's


KEPT = "epochs"  # folder of the best networks of the last stage


def kept_networks(run: Path) -> list[Path]:
    """The best networks that a run kept, in the order of their epochs."""
    return sorted(run.glob(f"{KEPT}/epoch*.pth"))


def kept_hash(run: Path) -> str:
    """Hash of the names and contents of the networks that a run kept."""
    lines = [f"{file.name} {sha256(file)}\n" for file in kept_networks(run)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def run_name(dataset: str, stem: str, seed: int, tag: str) -> str:
    """Name of a run folder; a data set called folder:PATH is named by its last part."""
    if tag and not re.fullmatch(r"[\w.-]+", tag):
        raise UserError(f"--tag is {tag!r}, but it ends a folder's name; use letters, digits, '.', '-' and '_' alone.")
    parts = [Path(dataset.removeprefix("folder:")).name, stem]
    return "_".join(parts + ([f"s{seed}"] if seed else []) + ([tag] if tag else []))


class RunFolder:
    """One run's folder; without `writes` it is only read: another process of the run writes."""

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self.writes = path, writes

    @property
    def config(self) -> Path:
        """The configuration of the run."""
        return self.path / "config.yaml"

    @contextmanager
    def kept_from_others(self, overwrite: bool) -> Iterator[None]:
        """Keep every other trainer out of the folder.

        Raises:
            UserError: where another process trains in it, or where `overwrite` would delete what is no run's.
        """
        if not self.writes:
            yield
            return
        if overwrite and self.path.exists() and not self._may_be_deleted():
            raise UserError(
                f"{self.path} holds files, but no run (no config.yaml of one), so --overwrite does not delete it; give "
                "another folder, or --tag NAME."
            )
        lock = Lock(self._lock)
        with writing(self.config):
            self.path.mkdir(parents=True, exist_ok=True)
            holder = lock.acquire()
        if holder is not None:
            raise UserError(
                f"{self.path} is in use: {holder} trains in it; wait for its end, or give --tag NAME for a folder of "
                "its own."
            )
        try:
            for pattern in WRITTEN:  # hidden files of the user's own stay
                remove_abandoned_files(self.path, pattern)
            yield
        finally:
            lock.release()
            with suppress(OSError):  # not empty
                self.path.rmdir()

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def begin(self, config: str, diff: str, differing: Sequence[str], resume: bool, overwrite: bool) -> None:
        """Claim the folder, which is `held`, for a configuration.

        Args:
            config: the configuration, as YAML.
            diff: how it differs from the defaults.
            differing: keys in which the configuration of a run that is there already differs.
            resume: go on with that run.
            overwrite: delete it.

        Raises:
            UserError: where the folder holds another configuration, or a run that was not asked to go on.
        """
        if not self.writes:
            return
        if overwrite:
            self._delete()
        elif self.config.is_file():
            self._refuse_run(differing, resume)
        elif self._written():
            raise UserError(
                f"{self.path} holds {', '.join(path.name for path in self._written())}, but no config.yaml that says "
                "of which run; put it back, give --tag NAME for another folder, or --overwrite to start again."
            )
        write_text(self.config, config)
        write_text(self.path / "diff.txt", diff)

    def _refuse_run(self, differing: Sequence[str], resume: bool) -> None:
        """Refuse a run that is in the folder, unless it is this one and may go on."""
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

    def _written(self) -> list[Path]:
        """What a run has written into the folder."""
        return [path for pattern in WRITTEN for path in sorted(self.path.glob(pattern))]

    def _may_be_deleted(self) -> bool:
        """Whether the folder is empty, but for hidden files, or a run's."""
        if not self.path.is_dir():
            return False
        if all(path.name.startswith(".") for path in self.path.iterdir()):
            return True
        try:
            text = self.config.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        is_config = all(re.search(f"^{key}:", text, re.MULTILINE) for key in ("SEED", "DATASET", "METHOD", "STAGES"))
        return is_config or sum((self.path / name).is_file() for name in MARKS) > 1

    def _delete(self) -> None:
        """Delete what a run writes, and nothing else."""
        with writing(self.path):
            for path in self._written():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    @property
    def last(self) -> Path:
        """The checkpoint that a run resumes from."""
        return self.path / "last.pth"

    def best(self, way: int, shot: int) -> Path:
        """The checkpoint that did best on the val split, or the last one where the stage selects that."""
        return self.path / f"ebest_{way}way_{shot}shot.pth"

    def state(self) -> str:
        """'running', 'done', 'interrupted' or 'failed'; 'unfinished' where that is not known."""
        state, holder = self._status()
        return state if holder is None or is_held(holder, self._lock) else "interrupted"

    def process(self) -> int | None:
        """The process of this machine that runs it; None where none does."""
        holder = self._status()[1]
        return holder.pid if holder is not None and holder.is_alive else None

    def _status(self) -> tuple[str, Holder | None]:
        """The state that was recorded last, with the process that runs it where that is `running`."""
        try:
            status = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
            state = str(status["state"])
            return state, Holder(status["host"], status["pid"], status["started"]) if state == "running" else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "unfinished", None

    def set_running(self) -> None:
        """Record that this process runs it: whoever reads that can tell whether the process still lives."""
        self.set_state("running", **asdict(this_process()))

    def set_state(self, state: str, **details: Any) -> None:
        """Record running | done | interrupted | failed, and why."""
        self.write_json("status.json", {"state": state, **details})

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run."""
        if self.writes:
            write_json(self.path / name, content)

    def keep_metrics(self, records: int) -> None:
        """Forget the records after the first `records`: those a resumed run will write again."""
        if not self.writes:
            return
        path = self.path / "metrics.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        write_text(path, "".join(text.splitlines(keepends=True)[:records]))

    def add_metrics(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        if not self.writes:
            return
        path = self.path / "metrics.jsonl"
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
