"""A command line as a SLURM job. What submitit pickles of it is its words, and how often it may start again."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any

# SLURM signals every process of a job, but only this one knows what to do: it stops the command and asks for a requeue.
SHIELD = ["sh", "-c", 'trap "" TERM USR1 USR2; exec "$@"', "sh"]
SECONDS_TO_STOP = 45.0  # SLURM kills a job 90 s after its signal


class CommandJob:
    """Runs a command to its end; submitit calls `checkpoint` before the job's time is up or when it is preempted.

    Args:
        words: of the command, which goes on where it stopped when it is started again.
        requeue: how many times the job may be started again.
    """

    def __init__(self, words: Sequence[str], requeue: int) -> None:
        self._words, self._requeue, self._is_stopping = list(words), requeue, False

    def __call__(self) -> None:
        self._process = subprocess.Popen([*SHIELD, *self._words], stdin=subprocess.DEVNULL)
        # scancel, scontrol requeue and preemption send SIGTERM, and SIGKILL soon after it.
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        code = self._process.wait()
        if code:
            raise RuntimeError(f"{shlex.join(self._words)} ended with exit code {code}")

    def checkpoint(self) -> Any:
        """Stop the command; returns the submission that goes on with it, None where it was started often enough."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        deadline = time.monotonic() + SECONDS_TO_STOP
        while _runs(self._process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        if int(os.environ.get("SLURM_RESTART_COUNT", "0")) >= self._requeue:
            return None
        return DelayedSubmission(CommandJob(self._words, self._requeue))

    def _stop(self) -> None:
        """Have the command end after its step; once, since a second signal would cut what it writes."""
        if not self._is_stopping and self._process.returncode is None:
            self._is_stopping = True
            os.kill(self._process.pid, signal.SIGINT)


def _runs(pid: int) -> bool:
    """Whether a child still runs. A signal interrupts `Popen.wait`, which holds a lock that `Popen.poll` waits for."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
