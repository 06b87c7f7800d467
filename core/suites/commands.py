"""What the command for suites does, once its arguments are parsed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..engine.device import choose
from ..errors import UserError
from ..names import nearest
from ..report.compare import as_tables, compare
from .collect import collect
from .local import LocalRunner
from .progress import Progress, Record, process_of, progress
from .queue import cancel_job, read_queue
from .slurm import Resources, submit
from .suite import Cell, read_suite


def run_suite(file: str, devices: Sequence[str], jobs: int = 0, threads: int = 0) -> None:
    """Run what is missing of a suite on this machine, then print its table.

    Args:
        file: of the suite.
        devices: as --device takes them, dealt out one a job.
        jobs: cells at a time; 0 = one for each device.
        threads: CPU threads of each; 0 = the cores divided by the jobs.

    Raises:
        UserError: where a cell failed, after all others have run.
    """
    if jobs < 0 or threads < 0:
        raise UserError(f"--jobs is {jobs} and --threads is {threads}; neither can be negative.")
    for name in devices:
        choose(name)  # refuses one that this machine lacks before any cell starts
    cells, jobs = read_suite(file), jobs or len(devices)
    threads = threads or max(1, (os.cpu_count() or 1) // jobs)
    failed = LocalRunner(cells, devices, jobs, threads, lambda line: print(line, flush=True)).run(read_queue(cells))
    print(status(file))
    if failed:
        raise UserError(
            f"{len(failed)} of {len(cells)} cells failed, {', '.join(cell.name for cell in failed)}; their logs are in "
            f"{Record(failed[0]).log.parent}. The same command runs what is missing."
        )
    try:
        print(table(file, "text"))
    except UserError as error:  # all cells are done, but some were not evaluated on the same episodes
        print(f"no table: {error}")


def run_cell(file: str, name: str, device: str, threads: int) -> None:
    """Run one cell of a suite to its end on this machine: what a SLURM job does.

    Raises:
        UserError: where the suite has no such cell, or where the cell failed.
    """
    cells = {cell.name: cell for cell in read_suite(file)}
    if name not in cells:
        raise UserError(f"--only is {name}, which is no cell of {file}{nearest(name, cells)}; --status lists them.")
    if LocalRunner([cells[name]], [device], 1, threads, lambda line: print(line, flush=True)).run():
        raise UserError(f"{name} failed; its log is {Record(cells[name]).log}.")


def submit_suite(file: str, resources: Resources) -> None:
    """Submit what is missing of a suite to SLURM and say how far it is."""
    submit(file, read_suite(file), resources, lambda line: print(line, flush=True))
    print(status(file))


def status(file: str) -> str:
    """A line for each cell, and how many there are in each state."""
    cells = read_suite(file)
    jobs = read_queue(cells)
    rows = [(cell, progress(cell, jobs)) for cell in cells]
    width = max(len(cell.name) for cell in cells)
    states = [row.state for _, row in rows]
    counts = "  ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    lines = [_status_line(cell, row, width) for cell, row in rows]
    return "\n".join([*lines, f"{len(cells)} cells: {counts}"])


def _status_line(cell: Cell, row: Progress, width: int) -> str:
    best = "" if row.best is None else f"best val {row.best:.2f} %"
    left = "" if row.seconds_left is None else f"about {_duration(row.seconds_left)} of training left"
    last = row.reason.splitlines()[-1] if row.reason else ""
    parts = [f"{row.state:10}", f"{cell.name:{width}}", f"epoch {row.epochs} of {row.of}", best, left, last]
    return "  ".join(part for part in parts if part).rstrip()


def table(file: str, form: str) -> str:
    """The table of all cells that are done, each compared with the first; seeds of one recipe share a row.

    Raises:
        UserError: where no cell is done.
    """
    runs = [cell.run.path for cell in read_suite(file) if progress(cell).state == "done"]
    if not runs:
        raise UserError(f"{file}: no cell is done; run the suite first, and see --status.")
    if len(runs) == 1:
        return f"One cell is done, {runs[0]}: nothing to compare it with."
    return as_tables(compare(runs, external=True), form=form)  # a suite lists what it compares


def collect_results(file: str, folder: str) -> None:
    """Copy what the finished cells measured to a folder, and say which were not there yet."""
    for name in collect(file, Path(folder)):
        print(f"collected  {name}")
    print(f"results  {Path(folder) / Path(file).stem}")


def cancel(file: str) -> None:
    """Stop the cells that run on this machine or have a job in SLURM's queue; the same suite goes on later."""
    cells = read_suite(file)
    jobs = read_queue(cells) or {}
    for cell in cells:
        if cell.name in jobs:
            cancel_job(Record(cell))
            print(f"cancelled  {cell.name}", file=sys.stderr)
        elif progress(cell).state == "running":
            process = process_of(cell)
            if process is None:
                print(f"left alone  {cell.name}: it runs on another machine", file=sys.stderr)
                continue
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(process, signal.SIGINT)
                print(f"stopped  {cell.name}", file=sys.stderr)


def _duration(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
