"""Run the cells of a suite on this machine: several at a time, each as processes of its own."""

from __future__ import annotations

import os
import queue
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from ..files import writing
from ..locks import started_at
from ..paths import command
from .processes import python_path, words_of
from .progress import Queue, Record, is_trained, progress
from .stages import stage_files
from .suite import Cell

INTERRUPTED = 128 + signal.SIGINT
RESULT = "result files  "  # how run_evaluator.py says where its files are


class LocalRunner:
    """Runs what is missing of each cell; a cell that fails does not stop the others.

    Args:
        cells: of the suite.
        devices: as --device takes them, dealt out one a job.
        jobs: cells at a time.
        threads: CPU threads of each; 0 = PyTorch's choice.
        say: receives a line for each thing that happens.
    """

    def __init__(
        self, cells: Sequence[Cell], devices: Sequence[str], jobs: int, threads: int, say: Callable[[str], None]
    ) -> None:
        self._cells, self._jobs, self._threads, self._say = cells, jobs, threads, say
        self._devices: queue.SimpleQueue[str] = queue.SimpleQueue()
        for number in range(jobs):
            self._devices.put(devices[number % len(devices)])
        self._processes: set[subprocess.Popen[bytes]] = set()

    def run(self, jobs: Queue | None = None) -> list[Cell]:
        """Run what is missing, apart from cells that have a job in SLURM's queue; returns the cells that failed.

        A stage before the last is shared by all cells that ask for the same one. The first of them trains it, and the
        others wait until it is there.
        """
        states = {cell.name: progress(cell, jobs).state for cell in self._cells}
        pending = [cell for cell in self._cells if states[cell.name] not in ("done", "queued", "running")]
        for name, state in [(name, state) for name, state in states.items() if state in ("queued", "running")]:
            self._say(f"left alone  {name}: it is {state} already; start the suite again when it has ended")
        shared = {cell.name: stage_files(cell) for cell in pending}
        running: dict[Future[bool], Cell] = {}
        failed: list[Cell] = []
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                while pending or running:
                    for cell in self._startable(pending, list(running.values()), shared):
                        pending.remove(cell)
                        running[pool.submit(self._run_cell, cell)] = cell
                    finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in finished:
                        cell = running.pop(future)
                        failed += [] if future.result() else [cell]
                        if Record(cell).read().get("exit") == INTERRUPTED:
                            pending.clear()  # whoever stopped this cell means the suite
            except BaseException:  # before the pool waits for its threads, which wait for the processes
                for process in list(self._processes):
                    process.send_signal(signal.SIGINT)
                raise
        return failed

    def _startable(self, pending: list[Cell], running: list[Cell], shared: dict[str, list[Path]]) -> list[Cell]:
        """The pending cells for which there is a job, and whose shared stages no running cell is making."""
        chosen: list[Cell] = []
        for cell in pending:
            making = {file for busy in [*running, *chosen] for file in shared[busy.name] if not file.is_file()}
            if len(running) + len(chosen) < self._jobs and making.isdisjoint(shared[cell.name]):
                chosen.append(cell)
        return chosen

    def _run_cell(self, cell: Cell) -> bool:
        """Train what is not trained and answer the tests without results; returns whether all went well."""
        device, record = self._devices.get(), Record(cell)
        try:
            if not record.lock() or progress(cell).state == "running":
                self._say(f"left alone  {cell.name}: another process has begun it")
                return True
            if record.job != os.environ.get("SLURM_JOB_ID"):
                record.note_job("")
            resume = cell.run.last.is_file() or cell.run.config.is_file()
            epochs = progress(cell).epochs
            record.note(started=time.time(), epochs_at_start=epochs, exit=0, device=device)
            self._say(f"{'resumed' if resume else 'started'}  {cell.name}  on {device}")
            if not is_trained(cell):
                if self._call("train", cell.train_arguments(device, resume), record) is None:
                    return self._report(cell, record)
                record.note(results={})  # of what was trained before
            for number in range(len(cell.tests)):
                if record.has_result(number):
                    continue
                output = self._call("evaluate", cell.test_arguments(number, device), record)
                if output is None:
                    return self._report(cell, record)
                lines = [line for line in output.splitlines() if line.startswith(RESULT)]
                record.note_result(number, [line.removeprefix(RESULT) for line in lines])
            return self._report(cell, record)
        finally:
            record.unlock()
            self._devices.put(device)

    def _report(self, cell: Cell, record: Record) -> bool:
        """Say how a cell ended."""
        record.note(pid=None)
        now = progress(cell)
        best = "" if now.best is None else f"  best val {now.best:.2f} %"
        self._say(f"{now.state:8}  {cell.name}{best}" + (f"\n{now.reason}" if now.reason else ""))
        return now.state == "done"

    def _call(self, name: str, arguments: list[str], record: Record) -> str | None:
        """Run a command, which writes to the cell's log; returns what it printed, None where it failed.

        It writes to the file itself, so that it goes on even where the suite is killed.
        """
        threads = ["--threads", str(self._threads)] if self._threads else []
        with writing(record.log):
            record.log.parent.mkdir(parents=True, exist_ok=True)
            log = record.log.open("a+b")
        with log:
            with writing(record.log):
                log.write(f"$ {command(name)} {shlex.join([*threads, *arguments])}\n".encode())
                log.flush()
            start = log.tell()
            words, environment = words_of(name, [*threads, *arguments]), os.environ | {"PYTHONPATH": python_path()}
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
            self._processes.add(process)
            record.note(pid=process.pid, process_started=started_at(process.pid))
            code = process.wait()
            self._processes.discard(process)
            record.note(exit=code)
            log.seek(start)
            return None if code else log.read().decode("utf-8", "replace")
