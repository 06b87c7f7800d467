"""Attacks on one process: it is killed or stopped, or its disk fills up, and the same command goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from core import files
from core.commands import evaluate
from core.engine.stage_run import StageRun
from core.prepare.collect import Options
from core.prepare.prepare import prepare
from core.prepare.sources import source
from core.report.run import RunFolder
from tests.chaos.runs import (
    METHODS,
    Child,
    Skipped,
    equal,
    finished,
    kill_at_call,
    small_disk,
    trainer,
    whole,
    write_config,
)
from tests.workspace import best
from tests.workspace import files as contents

FUNCTIONS = [(torch, "save"), (os, "fsync"), (Path, "replace"), (files, "write_file"), (RunFolder, "add_metrics")]


def killed(method: str, number: int, folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """A run that gets a signal at a random moment and goes on equals the undisturbed one."""
    expected, seconds = whole(method, root)
    cfg, base = write_config(folder, root, METHODS[method]), folder / "runs"
    child = trainer(cfg, base, folder / "out", resume=True)
    time.sleep(rng.uniform(0.02, seconds))
    child.signal(number)
    code = child.wait()
    assert code in (0, -9, 128 + number), f"exit {code}: {child.said()[-2000:]}"
    for config in base.glob("*/config.yaml"):
        state = RunFolder(config.parent).state()
        assert state in (("done",) if code == 0 else ("interrupted", "unfinished", "done")), state
    equal(finished(cfg, base, folder / "out"), expected)


def killed_in_a_call(method: str, folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """A run that dies inside of a function that writes goes on as if nothing had been."""
    expected, _ = whole(method, root)
    cfg, base = write_config(folder, root, METHODS[method]), folder / "runs"
    owner, name = FUNCTIONS[n % len(FUNCTIONS)]
    tamper = kill_at_call(owner, name, rng.randint(1, 8), after=rng.random() < 0.5)
    code = trainer(cfg, base, folder / "out", tamper, resume=True).wait()
    assert code in (0, -9), code
    equal(finished(cfg, base, folder / "out"), expected)


def full_disk(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """A disk that is full from a random moment on: a sentence, exit code 2, and the run goes on when there is room."""
    expected, _ = whole("ProtoNet", root)
    with small_disk(folder / "disk", 400) as mounted:
        if not mounted:
            raise Skipped("no file system can be mounted")
        cfg, base, ballast = write_config(folder, root, METHODS["ProtoNet"]), folder / "disk", folder / "disk/ballast"
        free, epoch = rng.randint(0, 60_000), rng.randint(0, 3)

        def tamper() -> None:
            save, saved = StageRun._save, []

            def fill(self, path, method, **more):
                save(self, path, method, **more)
                saved.append(path)
                if len(saved) > epoch and not ballast.exists():
                    ballast.write_bytes(bytes(max(0, shutil.disk_usage(base).free - free)))

            StageRun._save = fill

        child = trainer(cfg, base, folder / "out", tamper)
        code, said = child.wait(), child.said()
        assert code in (0, 2), f"exit {code}: {said[-2000:]}"
        assert "Traceback" not in said, said[-2000:]
        assert (code == 2) == ("cannot be written (No space left on device)" in said), said[-2000:]
        ballast.unlink()
        equal(finished(cfg, base, folder / "out"), expected)


def measured(run: Path) -> dict[str, bytes]:
    """What evaluations of a run found, without how long they took."""
    outputs = contents(run / "eval")
    return {name: outputs[name] for name in outputs if name.endswith((".csv", "npz"))}


def copied(run: Path, root: Path, folder: Path) -> tuple[Path, Path]:
    """A finished run and its data without features, in a folder of their own; returns its YAML and its folder."""
    folder.mkdir()
    shutil.copytree(root, folder / "data", ignore=shutil.ignore_patterns("features"))
    cfg = write_config(folder, folder / "data", METHODS["ProtoNet"])
    return cfg, Path(shutil.copytree(run, folder / run.name))


def evaluator(cfg: Path, run: Path, output: Path) -> Child:
    """A process that evaluates a run."""
    return Child(partial(evaluate, str(cfg), [], [str(best(run))], device_name="cpu"), output)


def killed_evaluation(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """An evaluation that is killed at a random moment, and done again, finds what an undisturbed one does."""
    expected, _ = whole("ProtoNet", root)
    results, seconds = [], 0.0  # of an undisturbed one
    for place in ("alone", "killed"):
        cfg, run = copied(expected, root, folder / place)
        began = time.monotonic()
        child = evaluator(cfg, run, folder / f"out-{place}")
        if place == "killed":
            time.sleep(rng.uniform(0, seconds))
            child.signal(signal.SIGKILL)
            assert child.wait() in (0, -9), child.said()[-2000:]
            child = evaluator(cfg, run, folder / "out-again")
        assert child.wait() == 0, child.said()[-2000:]
        seconds = time.monotonic() - began
        results.append(measured(run))
        assert not [path for path in run.parent.rglob(".*") if path.is_file()]
    assert results[0] == results[1]


def hashes_in(root: Path) -> dict[str, str]:
    """The hash of the pixels of every split below a folder."""
    manifests = [json.loads(file.read_text()) for file in root.rglob("manifest.json")]
    return {manifest["split"]: manifest["pixels_sha256"] for manifest in manifests}


def killed_preparation(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """A preparation that is killed at a random moment, and done again, gives the splits of an undisturbed one."""
    photos = folder / "photos"
    for number in range(24):
        (photos / f"class{number % 8}").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (400, 400, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"class{number % 8}" / f"{number}.png")

    def preparation(place: str) -> Child:
        def act() -> None:
            files.YOUNG = 0.0  # what a killed process left goes at once
            prepare(folder / place, source(f"folder:{photos}", ""), Options(size=32, workers=1))

        return Child(act, folder / f"out-{place}")

    began, alone = time.monotonic(), preparation("alone")
    assert alone.wait() == 0, alone.said()[-2000:]
    seconds = time.monotonic() - began
    child = preparation("killed")
    time.sleep(rng.uniform(0, seconds))
    child.signal(signal.SIGKILL)
    assert child.wait() in (0, -9), child.said()[-2000:]
    child = preparation("killed")
    assert child.wait() == 0, child.said()[-2000:]
    assert hashes_in(folder / "killed") == hashes_in(folder / "alone")
    assert len(hashes_in(folder / "alone")) == 3
    assert not list((folder / "killed").rglob(".*"))
