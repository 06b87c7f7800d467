"""A command as a job: it ends as its command does, and a checkpoint stops the command and asks for another start."""

import os
import signal
import sys
import time

import pytest

from core.suites.job import CommandJob

# Writes to a file when it runs and when it is interrupted; the signals that SLURM sends to all processes pass it by.
COMMAND = """
import os, pathlib, signal, sys, time
file = pathlib.Path(sys.argv[1])
for sent in (signal.SIGTERM, signal.SIGUSR2):
    os.kill(os.getpid(), sent)
file.write_text("runs")
try:
    time.sleep(60)
except KeyboardInterrupt:
    file.write_text("interrupted")
    sys.exit(130)
"""


def checkpoint_of(job, file):
    """Send this process a signal while the job runs; returns what `checkpoint` returned within its handler."""
    submissions = []

    def handle(*_):
        while not file.is_file() or not file.read_text():
            time.sleep(0.01)
        submissions.append(job.checkpoint())

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(RuntimeError, match="ended with exit code 130"):
            job()
    finally:
        signal.signal(signal.SIGALRM, before)
    return submissions


def test_a_command_that_fails_fails_the_job():
    CommandJob([sys.executable, "-c", ""], requeue=0)()
    with pytest.raises(RuntimeError, match="ended with exit code 3"):
        CommandJob([sys.executable, "-c", "raise SystemExit(3)"], requeue=0)()


def test_a_job_that_slurm_ends_stops_its_command(tmp_path):
    """scancel, scontrol requeue and preemption send SIGTERM."""
    file = tmp_path / "state"
    before = signal.getsignal(signal.SIGTERM)

    def end(*_):
        while not file.is_file() or not file.read_text():
            time.sleep(0.01)
        for _ in range(2):  # the second one must not cut what the first has it write
            os.kill(os.getpid(), signal.SIGTERM)

    alarm = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(RuntimeError, match="ended with exit code 130"):
            CommandJob([sys.executable, "-c", COMMAND, str(file)], requeue=0)()
    finally:
        signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGTERM, before)
    assert file.read_text() == "interrupted"


def test_a_checkpoint_stops_the_command_and_asks_for_another_start(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is an optional extra")
    file = tmp_path / "state"
    job = CommandJob([sys.executable, "-c", COMMAND, str(file)], requeue=2)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    start = time.monotonic()
    (submission,) = checkpoint_of(job, file)
    assert time.monotonic() - start < 20  # the handler does not wait for the lock that it interrupts
    assert file.read_text() == "interrupted"
    assert vars(submission.function) == {
        "_words": [sys.executable, "-c", COMMAND, str(file)],
        "_requeue": 2,
        "_is_stopping": False,
    }


def test_a_job_that_was_started_often_enough_is_not_started_again(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is an optional extra")
    file = tmp_path / "state"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert checkpoint_of(CommandJob([sys.executable, "-c", COMMAND, str(file)], requeue=2), file) == [None]
