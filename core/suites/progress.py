"""How far the cells of a suite are, read from their run folders and logs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..build.config import differing_keys, last_stage
from ..config.roles import roles_of
from ..errors import UserError
from ..files import write_files, write_json, writing
from ..kinds import misfit, parse_json
from ..locks import Lock, is_alive
from .suite import Cell

LAST_LINES = 5  # of a failed cell's log
INTERRUPTED = (129, 130, 143)  # exit codes of a command that was stopped by SIGHUP, by Ctrl-C or --cancel, by SIGTERM
NOTES = {
    **{"pid": (int, None), "process_started": (float, None), "started": float, "epochs_at_start": int, "exit": int},
    **{"device": str, "config": str, "results": {"": [str]}},
}
EPOCH = {"stage": str, "val?": float}
Queue = Mapping[str, str]  # SLURM's: queued or running, by the name of a cell that has a job in it


class Record:
    """What a suite notes of a cell beside its run folder: its log, its process, and which tests have results."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        folder = cell.base / "suites"
        self.log, self._file = folder / f"{cell.name}.log", folder / f"{cell.name}.json"
        self._job_file = folder / f"{cell.name}.job"
        self._lock = Lock(folder / f".{cell.name}.lock")

    def lock(self) -> bool:
        """Keep other suites from running the cell, until `unlock`; returns False where one runs it already."""
        with writing(self._lock.path):
            self._lock.path.parent.mkdir(parents=True, exist_ok=True)
            return self._lock.acquire() is None

    def unlock(self) -> None:
        """Let other suites run the cell; does nothing where this one does not."""
        self._lock.release()

    def read(self) -> dict[str, Any]:
        """The notes; empty before the first, and without what is not as it was written."""
        try:
            notes: dict[str, Any] = parse_json(self._file.read_text(encoding="utf-8"), {"": object})
        except (OSError, ValueError):
            return {}
        return {key: value for key, value in notes.items() if not misfit(value, NOTES.get(key, object))}

    def note(self, **notes: Any) -> None:
        """Add to the notes."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._file, self.read() | notes)

    @property
    def job(self) -> str:
        """Number of the SLURM job that the cell was last given to; "" for none.

        It has a file of its own, so that a job may write its notes while the number of the job is noted.
        """
        return (self._job_words() or [""])[0]

    @property
    def is_cancelled(self) -> bool:
        """Whether the user took back that job."""
        return "cancelled" in self._job_words()

    def _job_words(self) -> list[str]:
        try:
            return self._job_file.read_text(encoding="utf-8").split()
        except OSError:
            return []

    def note_job(self, job: str, *words: str) -> None:
        """Note the number of the SLURM job, and `cancelled` where the user took it back; "" forgets the job."""
        write_files(self._job_file.parent, {self._job_file.name: " ".join([job, *words]) + "\n" if job else None})

    @property
    def job_log(self) -> Path:
        """What the SLURM job itself printed as errors; submitit names the file."""
        return self.log.parent / "slurm" / f"{self.job}_0_log.err"

    def note_result(self, test: int, folders: list[str]) -> None:
        """Note where the results of a test lie; those of another configuration are forgotten."""
        self.note(config=_settings(self._cell), results=self._results() | {_key(self._cell, test): folders})

    def _results(self) -> dict[str, list[str]]:
        """The folders of each test that was answered under the cell's configuration."""
        notes = self.read()
        same = notes.get("config", _settings(self._cell)) == _settings(self._cell)
        return notes.get("results", {}) if same else {}

    def result_folders(self) -> list[str]:
        """Where the results of the cell's tests lie; those of tests that the suite no longer lists are left out."""
        results = self._results()
        keys = dict.fromkeys(_key(self._cell, test) for test in range(len(self._cell.tests)))
        return [folder for key in keys for folder in results.get(key, [])]

    def has_result(self, test: int) -> bool:
        """Whether a test of these arguments has been answered, and its folders hold what was measured."""
        folders = self._results().get(_key(self._cell, test), [])
        return bool(folders) and all(_is_whole(folder) for folder in folders)


@dataclass(frozen=True)
class Progress:
    """How far a cell is."""

    state: str  # done | queued | running | failed | incomplete | new
    epochs: int  # finished, of all stages that the cell trains itself
    of: int  # of these stages; of all while it has no epoch
    best: float | None  # accuracy on validation episodes, percent
    seconds_left: float | None  # of training, from the epochs since it was started
    reason: str = ""  # last lines of the log of a failed cell


def progress(cell: Cell, jobs: Queue | None = None) -> Progress:
    """Read how far a cell is; `jobs` is SLURM's queue, None where it is not known."""
    record = Record(cell)
    notes, rows = record.read(), _metrics(cell)
    of = sum(cell.loaded.cfg.STAGE[name].EPOCHS for name in _trained_stages(cell.loaded.cfg.STAGES, rows))
    best = [row["val"] for row in rows if row["stage"] == last_stage(cell.loaded.cfg) and "val" in row]
    state = _state(cell, record, notes, jobs)
    left = None
    since, started = len(rows) - notes.get("epochs_at_start", 0), notes.get("started")
    if state == "running" and since > 0 and started:
        left = (time.time() - started) / since * max(0, of - len(rows))
    reason = ""
    if state == "failed":
        lost = f"job {record.job} left SLURM's queue before the cell was done"
        reason = _last_lines(record.log) if _has_failed(notes) else _last_lines(record.job_log) or lost
    return Progress(state, len(rows), of, max(best, default=None), left, reason)


def _trained_stages(stages: Sequence[str], rows: Sequence[dict[str, Any]]) -> Sequence[str]:
    """The stages that a cell trains itself, by the records of its epochs: those before the first of them it reuses."""
    first = rows[0]["stage"] if rows else ""
    return stages[stages.index(first) :] if first in stages else stages


def is_trained(cell: Cell) -> bool:
    """Whether the training is complete, by the cell's configuration as it is now."""
    return cell.checkpoint.is_file() and cell.run.state() == "done" and not _trains_otherwise(cell)


def _trains_otherwise(cell: Cell) -> bool:
    """Whether the run in the folder learned by other settings; False where what it has saved cannot be read."""
    try:
        differing = differing_keys(cell.loaded, cell.run.config)
    except UserError:
        return False
    return any(roles_of(key) & {"trains", "varies", "inherited"} for key in differing)


def _state(cell: Cell, record: Record, notes: dict[str, Any], jobs: Queue | None) -> str:
    if is_trained(cell) and all(record.has_result(number) for number in range(len(cell.tests))):
        return "done"
    if jobs and cell.name in jobs:
        return jobs[cell.name]
    if process_of(cell) is not None or cell.run.state() == "running":
        return "running"
    has_lost_its_job = jobs is not None and record.job and not record.is_cancelled
    if _has_failed(notes) or has_lost_its_job:
        return "failed"
    return "incomplete" if cell.run.path.exists() else "new"


def process_of(cell: Cell) -> int | None:
    """The process of this machine that runs the cell, as a suite or its run folder knows it; None where none does."""
    notes = Record(cell).read()
    return notes["pid"] if is_alive(notes.get("pid"), notes.get("process_started")) else cell.run.process()


def _metrics(cell: Cell) -> list[dict[str, Any]]:
    """The records of the epochs that are complete."""
    try:
        lines = (cell.run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [parse_json(line, EPOCH) for line in lines]
    except (OSError, ValueError):
        return []


def _has_failed(notes: dict[str, Any]) -> bool:
    """Whether the last command of a cell failed."""
    return notes.get("exit", 0) not in (0, *INTERRUPTED)


def _last_lines(log: Path) -> str:
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return "\n".join(lines[-LAST_LINES:])


def _is_whole(folder: str) -> bool:
    """Whether an evaluation's results can be read, and its episodes are all listed where they are to be."""
    place = Path(folder)
    try:
        results = [parse_json(file.read_text(encoding="utf-8"), {"": object}) for file in place.glob("*.json")]
        lists = any((place / name).exists() for name in ("result.json", "episodes.csv"))
        lines = (place / "episodes.csv").read_bytes().count(b"\n") - 1 if lists else 0
    except (OSError, ValueError):  # ValueError also where a name holds a zero byte
        return False
    return bool(results) and (not lists or all(result.get("episodes", lines) == lines for result in results))


def _settings(cell: Cell) -> str:
    """Hash of the keys that a cell's YAML and overrides set, with their values."""
    values = {key: cell.loaded.values[key] for key in cell.loaded.sources}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _key(cell: Cell, test: int) -> str:
    """A test by its arguments."""
    return " ".join(cell.tests[test])
