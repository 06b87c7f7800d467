"""What the commands do, once their arguments are parsed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from core.build import Builder, load_config
from core.cli import start_log
from core.config import Loaded, check_files
from core.engine import checkpoint, device
from core.engine.selection import refuse_other_network, select
from core.errors import UserError
from core.methods.base import Method
from core.report.result import result_dir, result_line, write_result
from core.report.run import RunFolder, run_name, write_json

MOST_THREADS = 1024


def train(
    cfg_file: str,
    overrides: Sequence[str],
    *,
    device_name: str = "0",
    threads: int = 0,
    base: str = "checkpoint",
    tag: str = "",
    resume: bool = False,
    overwrite: bool = False,
    evaluate_after: bool = True,
) -> Path:
    """Train the stages of a config, evaluate the selected checkpoint on the test split, return the run folder."""
    loaded = load_config(cfg_file, overrides)
    check_files(loaded.cfg)
    where, note = prepare_machine(device_name, threads)
    builder = Builder(loaded.cfg, where)
    name = run_name(loaded.cfg.DATASET.NAME, loaded.stem, loaded.cfg.SEED, tag)
    run = RunFolder(Path(base) / name)
    trainer = builder.trainer(run, loaded.stem, Path(base) / "pretrained")
    builder.sampler("test", loaded.cfg.EVAL.SEED)  # what the test split cannot give is said now, not after training
    run.begin(loaded.full(), loaded.diff(), resume, overwrite)
    log = start_log(run.path / "train.log")
    for line in [note, *loaded.notes, loaded.diff(), f"run folder  {run.path}"]:
        if line:
            log.info(line)
    write_json(run.path / "env.json", environment(where))
    run.set_state("running")
    try:
        best = trainer.fit()
        if evaluate_after:
            log.info(evaluate_one(loaded, builder, best))
    except BaseException as error:
        run.set_state("failed", why=f"{type(error).__name__}: {error}".removesuffix(": "))
        raise
    run.set_state("done")
    return run.path


def evaluate(
    cfg_file: str,
    overrides: Sequence[str],
    checkpoints: Sequence[str],
    *,
    device_name: str = "0",
    threads: int = 0,
    untrained: bool = False,
) -> None:
    """Evaluate checkpoints, or the freshly initialised network, on the test split of a config."""
    loaded = load_config(cfg_file, overrides)
    where, note = prepare_machine(device_name, threads)
    log = start_log()
    for line in [note, *loaded.notes]:
        if line:
            log.info(line)
    builder = Builder(loaded.cfg, where)
    if untrained:
        result, _ = measure(loaded, builder, builder.method())
        log.info("untrained  %s", result_line(result | {"reference": None}))
        return
    selection = select([Path(path) for path in checkpoints], loaded.path, builder.meta(loaded.cfg.STAGES[-1]))
    for path, reason in selection.skipped:
        log.info("skipped  %s: %s", path, reason)
    for path in selection.chosen:
        log.info(evaluate_one(loaded, builder, path))


def evaluate_one(loaded: Loaded, builder: Builder, path: Path) -> str:
    """Evaluate one checkpoint, write its files, and return the lines to print."""
    method, held, asked = builder.method(), checkpoint.load(path), builder.meta(loaded.cfg.STAGES[-1])
    meta = held["meta"]
    checkpoint.restore(method, held["method"], path)
    refuse_other_network(asked, meta, path)
    result, found = measure(loaded, builder, method)
    result |= {"checkpoint": path.name, "checkpoint_sha256": checkpoint.sha256(path)}
    result |= {"trained_on": meta["dataset"], "training_seed": meta.get("seed")}
    if any(meta[key] != asked[key] for key in ("dataset", "image_size")):
        result["reference"] = None  # it was trained on other images than the published network
    folder = result_dir(path.parent, path.stem, result)
    write_result(folder, result, found.correct, found.classes, found.confusion, builder.split("test").classes)
    return f"{result_line(result)}\nresult files  {folder}"


def measure(loaded: Loaded, builder: Builder, method: Method):
    """Run the test episodes; returns what result.json holds, and the evaluation."""
    cfg = loaded.cfg
    evaluator = builder.evaluator("test")
    found = evaluator.run(method, cfg.EVAL.EPISODES, show=True)
    test, interval = cfg.TASK.TEST, found.interval
    result = {
        "method": cfg.METHOD.NAME,
        "dataset": builder.split("test").dataset,
        "split": "test",
        "way": test.WAY,
        "shot": test.SHOT,
        "query": test.QUERY,
        "episodes": cfg.EVAL.EPISODES,
        "seed": cfg.EVAL.SEED,
        "mean": interval.mean,
        "std": interval.std,
        "ci95": interval.ci95,
        "interval": "Student's t over episodes, n - 1 degrees of freedom",
        "transductive": method.transductive,
        "precision": "float32",
        "image_size": builder.image_size,
        "device": describe(builder.device),
        "threads": torch.get_num_threads(),
        "seconds": {name: round(value, 4) for name, value in found.seconds.items()},
        "reference": {key.lower(): value for key, value in cfg.REFERENCE.items()} if cfg.REFERENCE.ACCURACY else None,
        "deviation": _deviation(builder),
    }
    return result, found


def _deviation(builder: Builder) -> str | None:
    """How the data differs from the published benchmarks, where `prepare_data.py --allow-deviation` let it."""
    splits = [builder.split(name) for name in ("train", "val", "test")]
    found = [f"{s.dataset}: {s.manifest['deviation']}" for s in splits if s.manifest.get("deviation")]
    return "; ".join(dict.fromkeys(found)) or None


def prepare_machine(name: str, threads: int) -> tuple[torch.device, str | None]:
    """Choose the device and set the process up for it."""
    where, note = device.choose(name)
    if not 0 <= threads <= MOST_THREADS:
        raise UserError(f"--threads is {threads}; give 1 to {MOST_THREADS}, or 0 for PyTorch's choice.")
    if threads:
        torch.set_num_threads(threads)
    device.tune_allocator()
    return where, note


def describe(where: torch.device) -> str:
    """A device's name for the record."""
    return torch.cuda.get_device_name(where) if where.type == "cuda" else f"cpu ({platform.machine()})"


def environment(where: torch.device) -> dict[str, Any]:
    """What a run ran on, for env.json."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": describe(where),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def _commit() -> str:
    """The checkout's git commit, with + where files differ from it; empty outside git."""
    root = Path(__file__).resolve().parents[1]
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=40"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()
