"""Hand the cells of a suite to SLURM: one job a cell, through submitit."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import writing
from ..locks import Lock
from .job import CommandJob
from .processes import python_path, words_of
from .progress import Record, progress
from .queue import read_queue
from .stages import stage_files
from .suite import Cell

SIGNALLED = 90  # seconds before a job's time is up, at which submitit has SLURM signal it
SHORTEST = 5  # minutes of a job
TIME = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")


@dataclass(frozen=True)
class Resources:
    """What a job asks SLURM for."""

    partition: str = ""  # SLURM's default
    gpus: int = 1  # 0 = train on the CPU
    cpus: int = 1
    time: str = "12:00:00"  # [DAYS-]HH:MM:SS
    requeue: int = 3  # how many times a job that was preempted or ran out of time is started again

    def __post_init__(self) -> None:
        """Refuse what a cell cannot use."""
        if self.gpus not in (0, 1):
            raise UserError(f"--gpus is {self.gpus}, but a cell trains on one device; write 1, or 0 for the CPU.")
        if self.cpus < 1:
            raise UserError(f"--cpus is {self.cpus}, but a job needs one at least; write --cpus 4, for example.")
        if self.requeue < 0:
            raise UserError(f"--requeue is {self.requeue}, which cannot be negative; write 0 for never.")
        if not TIME.fullmatch(self.time) or self.minutes < 1:
            raise UserError(
                f"--time is {self.time!r}, but it must be [DAYS-]HH:MM:SS; write --time 12:00:00, for example."
            )
        if self.minutes < SHORTEST:
            raise UserError(
                f"--time is {self.time!r}, but SLURM signals a job {SIGNALLED} s before its time is up, so it would "
                f"train nothing; write --time 00:{SHORTEST:02}:00 or more."
            )

    @property
    def minutes(self) -> int:
        """The time in whole minutes, which is what submitit takes; seconds are rounded up."""
        days, hours, minutes, seconds = (int(part or 0) for part in TIME.fullmatch(self.time).groups())  # type: ignore[union-attr]
        return days * 1440 + hours * 60 + minutes + bool(seconds)


def submit(file: str, cells: Sequence[Cell], resources: Resources, say: Callable[[str], None]) -> None:
    """Submit a job for each cell that is not done and has none.

    A stage before the last is shared by all cells that ask for the same one. The job of the first makes it, and the
    jobs of the others wait until that job has ended.

    Args:
        file: the suite's, as each job is given it.
        cells: of the suite.
        resources: of each job.
        say: receives a line for each job.

    Raises:
        UserError: where there is no SLURM or no submitit, where SLURM refuses a job, or where another process submits.
    """
    executor = _executor(cells[0].base, resources)
    with _alone(cells[0].base):
        _submit_missing(executor, file, cells, resources, say)


@contextmanager
def _alone(base: Path) -> Iterator[None]:
    """Keep other submissions below `base` out, which would give a cell a second job."""
    lock = Lock(base / "suites" / ".submit.lock")
    with writing(lock.path):
        lock.path.parent.mkdir(parents=True, exist_ok=True)
        holder = lock.acquire()
    if holder is not None:
        raise UserError(f"{lock.path.parent} is in use: {holder} submits a suite there; start it again afterwards.")
    try:
        yield
    finally:
        lock.release()


def _submit_missing(
    executor: Any, file: str, cells: Sequence[Cell], resources: Resources, say: Callable[[str], None]
) -> None:
    """Submit the cells that are not done and have no job."""
    queue = read_queue(cells)
    states = {cell.name: progress(cell, queue).state for cell in cells}
    makers: dict[Path, str] = {}  # the job that makes a stage
    for cell in cells:
        if queue and cell.name in queue:
            makers = {stage: Record(cell).job for stage in stage_files(cell)} | makers
    for cell in cells:
        if states[cell.name] in ("queued", "running"):
            say(f"left alone  {cell.name}: it is {states[cell.name]} already; --cancel stops it")
        if states[cell.name] in ("done", "queued", "running"):
            continue
        stages = [stage for stage in stage_files(cell) if not stage.is_file()]
        earlier = sorted({makers[stage] for stage in stages if stage in makers}, key=int)
        job = _submit_cell(executor, file, cell, resources, earlier)
        Record(cell).note_job(job)
        makers = dict.fromkeys(stages, job) | makers
        say(f"queued  {cell.name}  job {job}" + (f"  after {' '.join(earlier)}" if earlier else ""))


def _executor(base: Path, resources: Resources) -> Any:
    """Submitit's executor for these resources; what the jobs print lies below `base`."""
    try:
        import submitit
    except ImportError as error:
        raise UserError("--launch slurm needs submitit, which is not installed: run `pip install submitit`.") from error
    if any(shutil.which(tool) is None for tool in ("sbatch", "srun", "squeue")):
        raise UserError(
            "--launch slurm needs SLURM, but sbatch, srun and squeue are not on this machine; run it where a cluster "
            "takes jobs, or leave --launch out to run the suite here."
        )
    folder = (base / "suites" / "slurm").absolute()
    executor = submitit.SlurmExecutor(folder, max_num_timeout=resources.requeue)
    executor.update_parameters(
        time=resources.minutes,
        cpus_per_task=resources.cpus,
        srun_args=[f"--cpus-per-task={resources.cpus}"],  # srun stopped inheriting it with version 22.05
        setup=[f"export PYTHONPATH={shlex.quote(python_path())}"],
        additional_parameters={"requeue" if resources.requeue else "no-requeue": True},
    )
    if resources.partition:
        executor.update_parameters(partition=resources.partition)
    if resources.gpus:
        executor.update_parameters(gpus_per_node=resources.gpus)
    return executor


def _submit_cell(executor: Any, file: str, cell: Cell, resources: Resources, earlier: Sequence[str]) -> str:
    """Submit the job of a cell, which waits for the end of the `earlier` ones; returns its number."""
    device = "0" if resources.gpus else "cpu"
    arguments = [file, "--only", cell.name, "--devices", device, "--threads", str(resources.cpus)]
    executor.update_parameters(job_name=cell.name, dependency=f"afterany:{':'.join(earlier)}" if earlier else None)
    try:
        return str(executor.submit(CommandJob(words_of("suite", arguments), resources.requeue)).job_id)
    except RuntimeError as error:  # submitit's own errors are RuntimeErrors
        reason = (str(error).strip().splitlines() or ["no reason"])[-1]
        raise UserError(f"SLURM refuses the job of {cell.name} ({reason}); correct what it names.") from error
