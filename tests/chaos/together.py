"""Attacks of two processes on one place, and on what several processes do together."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from core.prepare import glyphs
from core.suites.progress import Record, progress
from core.suites.suite import read_suite
from tests.chaos.alone import copied, evaluator, hashes_in, measured
from tests.chaos.runs import METHODS, Child, equal, finished, trainer, trainers, whole, write_config
from tests.conftest import ROOT
from tests.workspace import best

SENTENCES = ("lost another process of this run", "did not meet the other processes of this run")


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
    results = []
    for place, count in (("alone", 1), ("both", 2)):
        cfg, run = copied(expected, root, folder / place)
        children = [evaluator(cfg, run, folder / f"out-{place}{number}") for number in range(count)]
        assert [child.wait() for child in children] == [0] * count, [child.said()[-800:] for child in children]
        results.append(measured(run))
        assert not [path for path in run.parent.rglob(".*") if path.is_file()]
    assert results[0] == results[1]


def two_preparations(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """Two that draw one data set at once, one of which may be killed: whole splits, equal to those of one alone."""
    few = {split: letters[:4] for split, letters in glyphs.alphabets().items()}

    def drawing(place: str, number: int) -> Child:
        def act() -> None:
            glyphs.alphabets = lambda: few
            glyphs.render_glyphs(folder / place, 16)

        return Child(act, folder / f"out-{place}{number}")

    began, alone = time.monotonic(), drawing("alone", 0)
    assert alone.wait() == 0, alone.said()[-800:]
    seconds = time.monotonic() - began
    children = [drawing("both", number) for number in (0, 1)]
    if n % 2:
        time.sleep(rng.uniform(0, 2 * seconds))
        children[0].signal(signal.SIGKILL)
    codes = [child.wait() for child in children]
    assert codes in ([0, 0], [-9, 0]), [child.said()[-800:] for child in children]
    assert hashes_in(folder / "both") == hashes_in(folder / "alone")
    assert len(hashes_in(folder / "alone")) == 3


def killed_ranks(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """A run of two processes, one of which is killed: the other ends, as torchrun asks or by itself, and both go on."""
    expected, seconds = whole("ProtoNet", root, ranks=2)
    cfg, base = write_config(folder, root, METHODS["ProtoNet"]), folder / "runs"
    children = trainers(cfg, base, folder / "out", 2, resume=True)
    by_itself = n % 2 == 1
    while by_itself and not list(base.glob("*/config.yaml")) and children[0].wait(0.01) is None:
        pass  # a process that has not met the others yet waits for torchrun's signal
    time.sleep(rng.uniform(0, seconds))
    victim, other = rng.sample(children, 2)
    victim.signal(signal.SIGKILL)
    if not by_itself:
        time.sleep(rng.uniform(0, 0.2))
        other.signal(signal.SIGTERM)
    codes = victim.wait(), other.wait(60)
    assert codes[0] in (0, -9), f"{codes}: {victim.said()[-2000:]}"
    assert codes[1] in ((0, 2) if by_itself else (0, 2, 143, -15)), f"{codes}: {other.said()[-2000:]}"
    assert "Traceback" not in other.said(), other.said()[-2000:]
    assert codes[1] != 2 or any(sentence in other.said() for sentence in SENTENCES), other.said()[-2000:]
    equal(finished(cfg, base, folder / "again", 2), expected)


_suites: dict[Path, dict[str, dict]] = {}  # weights of an undisturbed suite's runs


def _suite(folder: Path, root: Path) -> tuple[Path, subprocess.Popen]:
    """A suite of two runs, and the process that runs it."""
    cfgs = [write_config(folder, root, METHODS[m], name) for m, name in (("ProtoNet", "A.yaml"), ("MAML", "B.yaml"))]
    file = folder / "suite.yaml"
    file.write_text(yaml.safe_dump({"BASE": str(folder / "runs"), "RUNS": list(map(str, cfgs)), "TESTS": [{}]}))
    words = [sys.executable, str(ROOT / "experiments/run_suite.py"), str(file), "--devices", "cpu", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "out").open("ab") as out:
        return file, subprocess.Popen(words, stdout=out, stderr=out, env=environment)


def _finished_suite(folder: Path, root: Path) -> dict[str, dict]:
    """Run what is missing of the suite; returns the weights of its runs."""
    file, running = _suite(folder, root)
    assert running.wait() == 0, (folder / "out").read_text()[-3000:]
    cells = read_suite(file)
    assert [progress(cell).state for cell in cells] == ["done"] * 2
    assert all(list(cell.run.path.glob("eval/*/*/result.json")) for cell in cells)
    return {cell.name: torch.load(best(cell.run.path), weights_only=True)["method"] for cell in cells}


def killed_suite(folder: Path, root: Path, n: int, rng: random.Random) -> None:
    """A suite that is killed at a random moment, alone or with the run that it started, and started again."""
    if root not in _suites:
        (root.parent / "suite").mkdir()
        began = time.monotonic()
        _suites[root] = _finished_suite(root.parent / "suite", root)
        _suites[root]["seconds"] = {"all": time.monotonic() - began}
    expected = _suites[root]
    file, running = _suite(folder, root)
    time.sleep(rng.uniform(0, expected["seconds"]["all"]))
    running.kill()
    running.wait()
    for cell in read_suite(file):
        while progress(cell).state == "running":  # it lives on without the suite
            if n % 2:
                os.kill(Record(cell).read()["pid"], signal.SIGKILL)
            time.sleep(0.1)
    networks = _finished_suite(folder, root)
    for name, weights in networks.items():
        assert all(torch.equal(weights[key], value) for key, value in expected[name].items()), name
