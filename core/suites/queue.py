"""SLURM's queue: which cells have a job in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from ..errors import UserError
from .progress import Queue, Record
from .suite import Cell

RUNNING = ("RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED")


def read_queue(cells: Sequence[Cell]) -> Queue | None:
    """The state of the cells that have a job in the queue; None where there is no SLURM to ask.

    Raises:
        UserError: where SLURM does not answer.
    """
    names = {Record(cell).job: cell.name for cell in cells}
    if not any(names):
        return {}
    if shutil.which("squeue") is None:
        return None
    states = {}
    for line in _ask("squeue", "--noheader", "--user", str(os.getuid()), "--format", "%i|%T|%j").splitlines():
        job, state, name = line.strip().split("|", 2)
        if names.get(job) == name:
            states[name] = "running" if state in RUNNING else "queued"
    return states


def cancel_job(record: Record) -> None:
    """Take the job of a cell out of the queue, or stop it.

    Raises:
        UserError: where SLURM refuses.
    """
    _ask("scancel", record.job)
    record.note_job(record.job, "cancelled")


def _ask(*words: str) -> str:
    """What a command of SLURM prints."""
    answer = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        raise UserError(f"SLURM does not answer ({words[0]} says: {reason}); try again when its controller is up.")
    return answer.stdout
