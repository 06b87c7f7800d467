"""The attacks: each takes a folder, a data root, a number and a source of chance, and raises if something is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from core import files
from core.commands import evaluate
from core.engine.trainer import Trainer
from core.prepare.sources import source
from core.report.run import RunFolder
from tests.chaos.runs import METHODS, Child, equal, finished, kill_at_call, small_disk, trainer, write_config
from tests.workspace import best
from tests.workspace import files as contents

Attack = Callable[[Path, Path, int, random.Random], None]
FUNCTIONS = [(torch, "save"), (os, "fsync"), (Path, "replace"), (files, "write_file"), (RunFolder, "add_metrics")]


class Skipped(Exception):
    """An attack that this machine does not allow, and why."""


_whole: dict[tuple[str, Path], tuple[Path, float]] = {}  # undisturbed runs, and how long they took


def whole(method: str, root: Path) -> tuple[Path, float]:
    """The undisturbed run of a method, made once."""
    if (method, root) not in _whole:
        folder = root.parent / f"whole-{len(_whole)}"
        folder.mkdir()
        cfg, began = write_config(folder, root, METHODS[method]), time.monotonic()
        run = finished(cfg, folder / "runs", folder / "out")
        _whole[method, root] = run, time.monotonic() - began
    return _whole[method, root]


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
            save, saved = Trainer._save, []

            def fill(self, path, stage, **more):
                save(self, path, stage, **more)
                saved.append(path)
                if len(saved) > epoch and not ballast.exists():
                    ballast.write_bytes(bytes(max(0, shutil.disk_usage(base).free - free)))

            Trainer._save = fill

        child = trainer(cfg, base, folder / "out", tamper)
        code, said = child.wait(), child.said()
        assert code in (0, 2), f"exit {code}: {said[-2000:]}"
        assert "Traceback" not in said, said[-2000:]
        assert (code == 2) == ("cannot be written (No space left on device)" in said), said[-2000:]
        ballast.unlink()
        equal(finished(cfg, base, folder / "out"), expected)


def two_trainers(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """Two trainers that start in one folder: one trains, the other is refused with who does."""
    expected, _ = whole("ProtoNet", root)
    cfg, base = write_config(folder, root, METHODS["ProtoNet"]), folder / "runs"
    options = [{}, {"resume": True}, {"overwrite": True}][n % 3]
    children = []
    for number in (0, 1):
        children.append(trainer(cfg, base, folder / f"out{number}", **options))
        time.sleep(rng.uniform(0, 0.3))
    codes = [child.wait() for child in children]
    said = [child.said() for child in children]
    refused = [text for text, code in zip(said, codes, strict=True) if code == 2]
    assert 0 in codes, said
    assert all("is in use: process" in text or "holds this run already" in text for text in refused), refused
    equal(finished(cfg, base, folder / "out0"), expected)


def two_stages_at_once(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """Two runs that need one shared stage: one trains it, the other waits and takes it."""
    method = "NegMargin, then ProtoNet"
    expected, _ = whole(method, root)
    cfg, base = write_config(folder, root, METHODS[method]), folder / "runs"
    children = []
    for tag in ("one", "two"):
        children.append(trainer(cfg, base, folder / tag, tag=tag))
        time.sleep(rng.uniform(0, 0.3))
    codes = [child.wait() for child in children]
    said = [child.said() for child in children]
    assert codes == [0, 0], said
    assert sum("stage base: reusing" in text for text in said) == 1, said
    for tag in ("one", "two"):
        (run,) = base.glob(f"*_{tag}")
        weights = [torch.load(best(r), weights_only=True)["method"] for r in (run, expected)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


def two_evaluators(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """Two evaluators of one checkpoint, on one empty cache: the same files as from one alone."""
    expected, _ = whole("ProtoNet", root)
    runs = [folder / name / expected.name for name in ("alone", "both")]
    results = []
    for run in runs:
        shutil.copytree(expected, run)
        data = run.parent / "data"
        shutil.copytree(root, data, ignore=shutil.ignore_patterns("features"))
        cfg = write_config(run.parent, data, METHODS["ProtoNet"])
        act = partial(evaluate, str(cfg), [], [str(best(run))], device_name="cpu")
        children = [Child(act, run.parent / f"out{number}") for number in range(1 if run is runs[0] else 2)]
        assert [child.wait() for child in children] == [0] * len(children), [c.said()[-800:] for c in children]
        found = contents(run / "eval")
        results.append({name: found[name] for name in found if name.endswith((".csv", "npz"))})
        assert not [path for path in run.parent.rglob(".*") if path.is_file()]
    assert results[0] == results[1]


def two_preparations(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """Two that draw one data set at once: whole splits, equal to those of one alone."""
    stores = [folder / "alone", folder / "both"]
    for store in stores:
        act = partial(source("Glyphs", "").make, store, 16)
        children = [Child(act, folder / f"out{number}") for number in range(1 if store is stores[0] else 2)]
        if n % 2 and store is stores[1]:
            time.sleep(rng.uniform(0.1, 2.0))
            children[0].signal(signal.SIGKILL)
            assert children[1].wait() == 0, children[1].said()[-800:]
            children[0].wait()
            continue
        assert [child.wait() for child in children] == [0] * len(children), [c.said()[-800:] for c in children]
    manifests = [sorted(store.rglob("manifest.json")) for store in stores]
    hashes = [[json.loads(file.read_text())["pixels_sha256"] for file in of] for of in manifests]
    assert hashes[0] == hashes[1]


ATTACKS: dict[str, tuple[Attack, int]] = {
    **{f"SIGKILL in training, {m}": (partial(killed, m, signal.SIGKILL), 20) for m in METHODS},
    **{f"killed inside of save, fsync, replace, {m}": (partial(killed_in_a_call, m), 10) for m in METHODS},
    "SIGTERM in training": (partial(killed, "ProtoNet", signal.SIGTERM), 20),
    "SIGHUP in training, two stages": (partial(killed, "NegMargin, then ProtoNet", signal.SIGHUP), 10),
    "a disk that fills up": (full_disk, 20),
    "two trainers in one folder": (two_trainers, 12),
    "two trainers of one shared stage": (two_stages_at_once, 6),
    "two evaluators on one cache": (two_evaluators, 5),
    "two that draw one data set": (two_preparations, 4),
}
