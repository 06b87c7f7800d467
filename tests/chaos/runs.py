"""Runs that are begun, killed and begun again: each in a process forked from this one, which has PyTorch loaded."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from tqdm import tqdm

from core.cli.common import run_command
from core.commands import train
from core.locks import is_alive, started_at
from core.report.run import RunFolder
from tests.workspace import META, PROTONET, TWO_STAGES, same_run

LONG = {"meta": META | {"EPOCHS": 5, "STEPS": 4, "TASKS": 2, "VAL": {"EPISODES": 6}}}
METHODS = {
    "ProtoNet": PROTONET | {"STAGE": LONG},
    "NegMargin, then ProtoNet": TWO_STAGES | {"STAGE": TWO_STAGES["STAGE"] | LONG},
    "RelationNet": PROTONET | {"METHOD": {"NAME": "RelationNet"}, "STAGE": LONG},
    "MAML": PROTONET
    | {"METHOD": {"NAME": "MAML", "ARGS": {"steps": 1, "test_steps": 1}}, "STAGE": LONG}
    | {"BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8, "norm": "batch"}}},
}


class Skipped(Exception):
    """An attack that this machine does not allow, and why."""


def write_config(folder: Path, root: Path, tree: dict, name: str = "Run.yaml") -> Path:
    """A YAML file on the data below `root`."""
    file = folder / name
    file.write_text(yaml.safe_dump({"DATASET": {"ROOT": str(root), "SIZE": 16}, **tree}))
    return file


class Child:
    """A command in a forked process; what it prints goes to a file."""

    def __init__(self, act: Callable[[], object], output: Path) -> None:
        self.output = output
        self.pid = os.fork()
        if self.pid == 0:
            self._run(act)
        self.started = started_at(self.pid)

    def _run(self, act: Callable[[], object]) -> None:
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
            file = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout = sys.stderr = os.fdopen(os.dup(file), "w", buffering=1)
            torch.set_num_threads(1)
            tqdm.set_lock(threading.RLock())  # the one from before the fork stays locked where its holder is killed
            run_command(lambda: act() and None)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code, negative for a signal; None where the process still runs after so long."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            pid, status = os.waitpid(self.pid, 0 if end is None else os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        return None

    def signal(self, number: int) -> None:
        """Signal the process if it still runs."""
        if is_alive(self.pid, self.started):
            os.kill(self.pid, number)

    def said(self) -> str:
        """All that was printed."""
        return self.output.read_text(errors="replace")


def trainer(cfg: Path, base: Path, output: Path, tamper: Callable[[], object] | None = None, **options) -> Child:
    """A process that trains; `tamper` is called in it first."""

    def act() -> None:
        if tamper is not None:
            tamper()
        train(str(cfg), [], **{"device_name": "cpu", "base": str(base), "evaluate_after": False} | options)

    return Child(act, output)


def trainers(cfg: Path, base: Path, output: Path, ranks: int, **options) -> list[Child]:
    """The processes of one run, started as torchrun starts them."""
    if ranks == 1:
        return [trainer(cfg, base, output, **options)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(ranks)}

    def named(number: int) -> Callable[[], object]:
        return lambda: os.environ.update(where | {"RANK": str(number), "LOCAL_RANK": str(number)})

    outputs = [output.with_name(f"{output.name}-{number}") for number in range(ranks)]
    return [trainer(cfg, base, outputs[number], named(number), **options) for number in range(ranks)]


def kill_at_call(owner: object, name: str, call: int, after: bool) -> Callable[[], None]:
    """Something for `tamper`: the process kills itself in the given call of a function, before or after its work."""

    def tamper() -> None:
        real, calls = getattr(owner, name), []

        def deadly(*arguments, **more):
            calls.append(1)
            if len(calls) == call and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **more)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, deadly)

    return tamper


def warm_up(folder: Path, root: Path) -> None:
    """Train and evaluate in this process, so that those that are forked from it find all modules loaded."""
    torch.set_num_threads(1)
    folder.mkdir()
    cfg = write_config(folder, root, PROTONET | {"STAGE": {"meta": META | {"EPOCHS": 1, "STEPS": 1}}})
    train(str(cfg), [], device_name="cpu", base=str(folder / "runs"))


def run_in(base: Path) -> Path:
    """The one run below a folder, complete, and with nothing left of what killed processes wrote."""
    (folder,) = [path.parent for path in base.glob("*/config.yaml")]
    assert RunFolder(folder).state() == "done"
    hidden = [path for path in base.rglob(".*") if path.is_file()]
    assert not hidden, f"left behind: {hidden}"
    return folder


def finished(cfg: Path, base: Path, output: Path, ranks: int = 1) -> Path:
    """Resume a run to its end; returns its folder."""
    children = trainers(cfg, base, output, ranks, resume=True)
    codes = [child.wait() for child in children]
    assert codes == [0] * ranks, f"exit {codes}: {[child.said()[-2000:] for child in children]}"
    return run_in(base)


_whole: dict[tuple[str, Path, int], tuple[Path, float]] = {}  # undisturbed runs, and how long they took


def whole(method: str, root: Path, ranks: int = 1) -> tuple[Path, float]:
    """The undisturbed run of a method, made once, and the seconds that it took."""
    key = (method, root, ranks)
    if key not in _whole:
        folder = Path(tempfile.mkdtemp(prefix="whole-", dir=root.parent))
        cfg, began = write_config(folder, root, METHODS[method]), time.monotonic()
        run = finished(cfg, folder / "runs", folder / "out", ranks)
        _whole[key] = run, time.monotonic() - began
    return _whole[key]


def equal(one: Path, other: Path) -> None:
    """Assert that two runs hold the same checkpoints and curves."""
    assert same_run(one, other), f"{one} differs from {other}"


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int):
    """A file system of a few kilobytes in a folder; yields False where nothing can be mounted."""
    import subprocess

    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)
