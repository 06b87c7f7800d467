"""Disks that fill up, and files that are not what they seem: one sentence, exit code 2, and nothing lost."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from core.engine.events import EventFile
from core.engine.stage_run import StageRun
from core.log import start_log
from core.report.run import RunFolder
from tests.workspace import files as contents
from tests.workspace import metrics, same_run

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 1000, 8000, 30_000])
def test_a_disk_that_fills_up_is_a_sentence_and_the_run_goes_on(space, small_disk, free):
    """Whatever file meets the full disk first, the last checkpoint stays, and the run resumes from it bit for bit."""
    cfg = space.config()
    whole = space.train(cfg, tag="whole")
    run = small_disk / "run"
    save, ballast = StageRun._save, small_disk / "ballast"

    def fill(self, path, method, **more):
        save(self, path, method, **more)
        if path.name == "last.pth" and not ballast.exists():
            left = shutil.disk_usage(small_disk).free
            ballast.write_bytes(bytes(max(0, left - free)))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(StageRun, "_save", fill)
        code, out, err = space.trainer(cfg, "-p", run, "-e", "0")
    assert code == 2
    assert err.startswith(f"error: {run}")
    assert "cannot be written (No space left on device); make room" in err
    assert "Traceback" not in out + err
    assert torch.load(run / "last.pth", weights_only=True)["progress"]["epoch"] >= 1
    ballast.unlink()
    assert space.trainer(cfg, "-p", run, "-e", "0", "--resume")[0] == 0
    assert same_run(run, whole)


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
def test_a_disk_that_only_reads_is_a_sentence_and_keeps_the_run(space, small_disk, option):
    cfg, run = space.config(), small_disk / "run"
    assert space.trainer(cfg, "-p", run, "-e", "0")[0] == 0
    before = contents(run)
    start_log()  # closes train.log
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, out, err = space.trainer(cfg, "-p", run, "-e", "0", option)
    assert code == 2
    assert "(Read-only file system); make room, or give another folder" in err
    assert "Traceback" not in out + err
    assert contents(run) == before
    (checkpoint,) = run.glob("ebest_*.pth")
    code, out, err = space.evaluator(cfg, "-c", checkpoint)
    assert code == 2
    assert "(Read-only file system)" in err


def fail_once(monkeypatch, owner, name):
    real = getattr(owner, name)

    def fail(*arguments, **more):
        monkeypatch.setattr(owner, name, real)
        raise FULL

    monkeypatch.setattr(owner, name, fail)


class _FullStream:
    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        raise FULL

    def __getattr__(self, name):
        return getattr(self._stream, name)


def test_a_log_that_cannot_be_written(space, monkeypatch):
    begin = RunFolder.set_running

    def full_log(self):
        import logging

        (handler,) = [h for h in logging.getLogger("fiveway").handlers if isinstance(h, logging.FileHandler)]
        handler.stream = _FullStream(handler.stream)
        begin(self)

    monkeypatch.setattr(RunFolder, "set_running", full_log)
    code, out, err = space.trainer(space.config(), "-e", "0")
    assert (code, "Traceback" in out + err) == (2, False)
    assert err.endswith("train.log cannot be written (No space left on device); make room, or give another folder.\n")


@pytest.mark.parametrize("file", ["tb", "metrics.jsonl"])
def test_curves_that_cannot_be_written(space, monkeypatch, file):
    if file == "tb":
        add = EventFile.scalar

        def full(self, *rest):
            self._file.write = None
            self._records._writer = _FullStream(self._file)
            add(self, *rest)

        monkeypatch.setattr(EventFile, "scalar", full)
    else:
        open_path = Path.open

        def full(self, mode="r", *rest, **more):
            if self.name == file and mode == "a":
                raise FULL
            return open_path(self, mode, *rest, **more)

        monkeypatch.setattr(Path, "open", full)
    code, out, err = space.trainer(space.config(), "-e", "0")
    assert (code, "Traceback" in out + err) == (2, False)
    assert "cannot be written (No space left on device); make room" in err
    assert len(metrics(space.base / "Glyphs_Proto")) == (1 if file == "tb" else 0)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_config_that_is_no_file_is_refused(space, make):
    cfg = space.path / "Odd.yaml"
    make(cfg)
    code, _, err = space.trainer(cfg)
    assert code == 2
    assert err == f"error: {cfg if not cfg.is_symlink() else '/dev/zero'} cannot be read: it is no regular file.\n"
