"""Locks: one holder at a time, dead holders do not count, and who holds one is said."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from core import locks
from core.locks import Holder, Lock, is_held, this_process

HOLD = "import sys, time; from pathlib import Path; from core.locks import Lock; "
HOLD += "lock = Lock(Path(sys.argv[1])); print(lock.acquire(), flush=True); time.sleep(60)"


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".lock"


@pytest.fixture
def other(path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "None\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_learns_who_holds_it(path, other):
    holder = Lock(path).acquire()
    assert (holder.pid, holder.is_alive) == (other.pid, True)
    assert str(holder).startswith(f"process {other.pid} on ")


def test_a_killed_holder_does_not_count(path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert path.exists()
    lock = Lock(path)
    assert lock.acquire() is None
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()
    assert not path.exists()


def test_released_and_taken_again(path):
    for _ in range(3):
        lock = Lock(path)
        assert lock.acquire() is None
        lock.release()
        lock.release()
    assert not path.exists()


def test_two_locks_of_one_process_exclude_each_other(path):
    first, second = Lock(path), Lock(path)
    assert first.acquire() is None
    assert second.acquire() == this_process()
    first.release()
    assert second.acquire() is None
    second.release()


@pytest.mark.parametrize("beats", [True, False])
def test_a_holder_on_another_machine_is_watched(path, monkeypatch, beats):
    """A disk that keeps flock to one machine: only the heartbeat tells."""
    monkeypatch.setattr(locks, "SILENCE", 0.6)
    monkeypatch.setattr(locks, "POLL", 0.05)
    far = Holder("far-away", 7, 1.0)
    path.write_text(json.dumps(vars(far)))
    done = threading.Event()
    if beats:
        file = os.open(path, os.O_RDWR)
        monkeypatch.setattr(locks, "BEAT", 0.1)
        threading.Thread(target=locks._beat, args=(file, done), daemon=True).start()
    lock = Lock(path)
    assert lock.acquire() == (far if beats else None)
    done.set()
    lock.release()


def test_without_flock_the_process_counts(path, monkeypatch):
    monkeypatch.setattr(locks, "_flock", lambda file: None)
    parent = Holder(this_process().host, os.getppid(), locks.started_at(os.getppid()))
    path.write_text(json.dumps(vars(parent)))
    assert Lock(path).acquire() == parent
    path.write_text(json.dumps(vars(parent) | {"started": 1.0}))  # another process had this number
    assert Lock(path).acquire() is None


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[1]", b'{"host": "x"}', b"[" * 5000])
def test_a_damaged_lock_file_is_nobodys(path, content):
    path.write_bytes(content)
    lock = Lock(path)
    assert lock.acquire() is None
    lock.release()


def test_a_link_is_not_followed(path, tmp_path):
    target = tmp_path / "precious"
    target.write_text("content")
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        Lock(path).acquire()
    assert target.read_text() == "content"


def test_the_heartbeat_touches_the_file(path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.02)
    lock = Lock(path)
    lock.acquire()
    os.utime(path, (1, 1))
    deadline = time.monotonic() + 5
    while path.stat().st_mtime == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.stat().st_mtime > 1
    lock.release()


def test_a_waiting_process_goes_on_when_the_holder_ends(path, other):
    threading.Timer(0.3, other.kill).start()
    begun = time.monotonic()
    with Lock(path).waited_for("waiting for %s"):
        assert time.monotonic() - begun >= 0.3


def test_whether_a_holder_lives(path):
    assert is_held(this_process(), path)
    assert not is_held(Holder(this_process().host, os.getpid(), 1.0), path)
    far = Holder("far-away", 7, 1.0)
    assert not is_held(far, path)
    path.touch()
    assert is_held(far, path)
    os.utime(path, (1, 1))
    assert not is_held(far, path)
