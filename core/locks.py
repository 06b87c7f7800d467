"""Locks that say who holds them: one trainer in a run folder, one trainer of a shared stage.

A lock is a file that its holder keeps open under flock(2), and that names the holder's machine and process. flock ends
with the process, however it ends. Some network disks keep flock to one machine or have none; there the heartbeat
counts: the holder touches the file every `BEAT` seconds, and a holder on another machine whose file stays untouched for
`SILENCE` seconds is dead. The file is watched for that long, so the clocks of the machines need not agree.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

BEAT = 5.0  # seconds
SILENCE = 20.0
POLL = 0.5

log = logging.getLogger("fiveway")


def started_at(pid: int) -> float | None:
    """When a process started, in clock ticks since boot: tells it from a later one with the same number."""
    try:
        return float(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def is_alive(pid: object, started: object) -> bool:
    """Whether the process of this machine that started then still runs; one that waits to be reaped does not."""
    if not isinstance(pid, int):
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return started == started_at(pid) and state != "Z"


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock."""

    host: str
    pid: int
    started: float | None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether it is one of this machine."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it runs; of this machine's processes alone it can be told."""
        return self.is_here and is_alive(self.pid, self.started)


UNKNOWN = Holder("an unknown machine", 0, None)


def this_process() -> Holder:
    """The process that asks."""
    return Holder(socket.gethostname(), os.getpid(), started_at(os.getpid()))


class Lock:
    """A lock in the file `path`, which is there only while the lock is held, or after its holder was killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._released = threading.Event()

    def acquire(self) -> Holder | None:
        """Take the lock; returns who holds it where somebody else does, else None.

        Raises:
            OSError: where the disk refuses.
        """
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                holder = self._holder(file, _flock(file))
                if holder is None and _is_at(file, self.path):
                    self._hold(file)
                    file = -1
                    return None
            finally:
                if file >= 0:
                    os.close(file)
            if holder is not None:
                return holder

    def _holder(self, file: int, flocked: bool | None) -> Holder | None:
        """Who holds the open lock file besides this process; None for nobody, or a dead process."""
        holder = _read(file)
        if flocked is False:
            return holder or UNKNOWN
        if holder is None:
            return None
        if holder.is_here:  # flock tells all of one machine
            return holder if flocked is None and holder.is_alive else None
        log.info("%s: %s held it last; watching for %.0f s whether it lives", self.path, holder, SILENCE)
        return None if self._is_silent() else holder

    def _is_silent(self) -> bool:
        """Whether nobody touches the file for a while."""
        before, until = _touched(self.path), time.monotonic() + SILENCE
        while time.monotonic() < until:
            time.sleep(min(POLL, SILENCE))
            if _touched(self.path) != before:
                return False
        return True

    def _hold(self, file: int) -> None:
        """Write who holds the lock, and keep touching it."""
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(asdict(this_process())).encode(), 0)
        self._file, self._released = file, threading.Event()
        threading.Thread(target=_beat, args=(file, self._released), daemon=True).start()

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._file < 0:
            return
        self._released.set()
        with suppress(OSError):  # the folder is gone
            if _is_at(self._file, self.path):
                self.path.unlink()
        os.close(self._file)
        self._file = -1

    @contextmanager
    def waited_for(self, waiting: str) -> Iterator[None]:
        """Hold the lock; while another process does, wait. `waiting` is logged, with that process for its %s."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        told = None
        while (holder := self.acquire()) is not None:
            if holder != told:
                log.info(waiting, holder)
                told = holder
            time.sleep(POLL)
        try:
            yield
        finally:
            self.release()


def is_held(holder: Holder, path: Path) -> bool:
    """Whether a holder still lives; of one on another machine the file's last touch tells, as far as clocks agree."""
    if holder.is_here:
        return holder.is_alive
    try:
        return time.time() - path.stat().st_mtime < SILENCE + 2 * BEAT
    except OSError:
        return False


def _beat(file: int, released: threading.Event) -> None:
    """Touch an open lock file until it is released."""
    while not released.wait(BEAT):
        try:
            os.utime(file)
        except OSError:
            return


def _flock(file: int) -> bool | None:
    """Take the flock of an open file; False where another process has it, None where the disk knows no flock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        there = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(os.fstat(file), there)


def _touched(path: Path) -> int:
    """When a file was touched last; it is opened first, so that network disks ask their server."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return 0
    try:
        return os.fstat(file).st_mtime_ns
    finally:
        os.close(file)


def _read(file: int) -> Holder | None:
    """The holder that a lock file names; None where it names none."""
    try:
        content = json.loads(os.pread(file, 1000, 0))
        return Holder(str(content["host"]), int(content["pid"]), content["started"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
