"""What the commands do, once their arguments are parsed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from . import __version__
from .build.builder import Builder
from .config import Loaded, check_files
from .engine import checkpoint, device
from .engine.selection import changed_at_test, refuse_other_network, select
from .errors import UserError
from .examination import Examination, Question, questions
from .log import start_log
from .lowshot import SHOTS, LowShot
from .make import load_config
from .methods.base import Method
from .paths import ROOT
from .report.generalized import generalized_line, write_generalized
from .report.lowshot import Trials, lowshot_line, write_lowshot
from .report.result import Counts, at_test, result_dir, result_line, write_result
from .report.run import RunFolder, run_name, write_json

MOST_THREADS = 1024


def train(
    cfg_file: str,
    overrides: Sequence[str],
    *,
    device_name: str = "0",
    threads: int = 0,
    base: str = "checkpoint",
    folder: str = "",
    tag: str = "",
    resume: bool = False,
    overwrite: bool = False,
    evaluate_after: bool = True,
) -> Path:
    """Train the stages of a config, evaluate the selected checkpoint on the test split, return the run folder.

    It lies in `base`, named after the config, the seed and the `tag`, unless `folder` names it.
    """
    loaded = load_config(cfg_file, overrides)
    check_files(loaded.cfg)
    where, note = prepare_machine(device_name, threads)
    builder = Builder(loaded.cfg, where)
    if folder and tag:
        raise UserError(f"--tag is {tag}, but --checkpoint_dir names the run folder already; leave one of them out.")
    name = run_name(builder.split("train").dataset, loaded.stem, loaded.cfg.SEED, tag)
    run = RunFolder(Path(folder) if folder else Path(base) / name)
    trainer = builder.trainer(run, loaded.stem, Path(base) / "pretrained")
    trainer.rehearse()
    builder.evaluator("test")  # what the test split cannot give is said now, not after training
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
            for line in examine(loaded, builder, best):
                log.info(line)
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
    shots: Sequence[int] = (),
    ways: Sequence[int] = (),
    methods: Sequence[str] = (),
    save_features: str = "",
    generalized: bool = False,
    lowshot: str = "",
) -> None:
    """Evaluate checkpoints, or the freshly initialised network, on the test split of a config.

    `shots`, `ways` and `methods` (names, "own" for the config's) ask several questions of each checkpoint;
    `generalized` asks them among all base classes. `lowshot` names a group of ImageNet low-shot, asked for `shots`.
    """
    loaded = load_config(cfg_file, overrides)
    where, note = prepare_machine(device_name, threads)
    log = start_log()
    for line in [note, *loaded.notes]:
        if line:
            log.info(line)
    builder = Builder(loaded.cfg, where)
    asked = questions(loaded.cfg, shots, ways, methods)
    if lowshot and (ways or methods or save_features or generalized):
        raise UserError("--lowshot has classes and questions of its own; give no other option beside it than --shots.")
    if generalized:
        _refuse_beside_generalized(untrained, save_features)
    if untrained and lowshot:
        for result, _ in _lowshot(builder, builder.method(), lowshot, shots):
            log.info("untrained  %s", lowshot_line(result))
        return
    if untrained:
        examination = Examination(builder, builder.method())
        for question in _possible(examination, asked, save_features):
            log.info("untrained  %s", result_line(examination.answer(question).result | {"reference": None}))
        if save_features:
            examination.save_features(Path(save_features))
        return
    selection = select([Path(path) for path in checkpoints], loaded.path, builder.meta(loaded.cfg.STAGES[-1]))
    if save_features and len(selection.chosen) > 1:
        raise UserError(f"--save-features takes one checkpoint, but -c names {len(selection.chosen)}; give one.")
    for path, reason in selection.skipped:
        log.info("skipped  %s: %s", path, reason)
    for path in selection.chosen:
        if lowshot:
            lines = examine_lowshot(loaded, builder, path, lowshot, shots)
        elif generalized:
            lines = examine_generalized(loaded, builder, path, asked)
        else:
            lines = examine(loaded, builder, path, asked, save_features)
        for line in lines:
            log.info(line)


def examine(
    loaded: Loaded, builder: Builder, path: Path, asked: Sequence[Question] = (), save_features: str = ""
) -> Iterator[str]:
    """Evaluate one checkpoint, write the files of each question, and yield the lines to print."""
    examination, meta, digest = _open(loaded, builder, path)
    own = builder.meta(loaded.cfg.STAGES[-1])
    for question in _possible(examination, asked or questions(loaded.cfg, (), (), ()), save_features):
        answer = examination.answer(question)
        result = answer.result | {"checkpoint": path.name, "checkpoint_sha256": digest}
        result |= {"trained_on": meta["dataset"], "training_seed": meta.get("seed")}
        result["at_test"] = {} if result["features_of"] else meta["at_test"]
        if any(meta[key] != own[key] for key in ("dataset", "image_size")):
            result["reference"] = None  # it was trained on other images than the published network
        folder = result_dir(path.parent, path.stem, result)
        disjoint = answer.disjoint and Counts.of(answer.disjoint)
        write_result(folder, result, Counts.of(answer.found), builder.split("test").classes, disjoint)
        yield f"{result_line(result)}\nresult files  {folder}"
    if save_features:
        examination.save_features(Path(save_features))
        yield f"features  {save_features}"


def examine_generalized(loaded: Loaded, builder: Builder, path: Path, asked: Sequence[Question]) -> Iterator[str]:
    """Evaluate one checkpoint among all base classes, write the files, and yield the lines to print."""
    examination, meta, digest = _open(loaded, builder, path)
    wanted = loaded.cfg.DATASET.BASE_HOLDOUT
    held = builder.held_out()
    if meta.get("base_holdout", 0) != wanted:
        raise UserError(
            f"{path} was trained with DATASET.BASE_HOLDOUT {meta.get('base_holdout', 0)}, but the config says "
            f"{wanted}, so it may have seen base-class images it would be tested on; train it with that hold-out."
        )
    for result, joint in examination.generalized(_possible(examination, asked, ""), held):
        result |= {"checkpoint": path.name, "checkpoint_sha256": digest, "trained_on": meta["dataset"]}
        result["at_test"] = {} if result["features_of"] else meta["at_test"]
        folder = result_dir(path.parent, path.stem, result, "generalized_")
        write_generalized(folder, result, joint)
        yield f"{generalized_line(result)}\nresult files  {folder}"


def examine_lowshot(
    loaded: Loaded, builder: Builder, path: Path, group: str, shots: Sequence[int] = ()
) -> Iterator[str]:
    """Evaluate one checkpoint on a group of ImageNet low-shot, write the files, and yield the lines to print."""
    method, meta, digest = restored(loaded, builder, path)
    for result, trials in _lowshot(builder, method, group, shots):
        result |= {"checkpoint": path.name, "checkpoint_sha256": digest, "trained_on": meta["dataset"]}
        result["at_test"] = meta["at_test"]
        name = f"lowshot_{group}_{result['shot']}shots_seed{result['seed']}_{result['trials']}{at_test(result)}"
        folder = path.parent / "eval" / path.stem / name
        write_lowshot(folder, result, trials)
        yield f"{lowshot_line(result)}\nresult files  {folder}"


def _lowshot(
    builder: Builder, method: Method, group: str, shots: Sequence[int]
) -> Iterator[tuple[dict[str, Any], Trials]]:
    """Each number of shots on a group of ImageNet low-shot."""
    questioned = LowShot(builder, method, group)
    questioned.refuse_impossible(shots or SHOTS)
    for shot in dict.fromkeys(shots or SHOTS):
        yield questioned.answer(shot)


def _open(loaded: Loaded, builder: Builder, path: Path) -> tuple[Examination, dict[str, Any], str]:
    """A checkpoint ready for questions, what it says about itself, and its hash."""
    method, meta, digest = restored(loaded, builder, path)
    own = builder.meta(loaded.cfg.STAGES[-1])
    identity = {"checkpoint": digest, **{name: own[name] for name in ("method", "backbone")}}
    return Examination(builder, method, identity), meta, digest


def _refuse_beside_generalized(untrained: bool, save_features: str) -> None:
    """Say which options --generalized has no answer to."""
    if untrained:
        raise UserError("--untrained cannot be combined with --generalized; give a checkpoint with -c.")
    if save_features:
        raise UserError(
            f"--save-features is {save_features}, but --generalized hands no features on; evaluate without it for them."
        )


def _possible(examination: Examination, asked: Sequence[Question], save_features: str) -> Sequence[Question]:
    """The questions, once it is known that all can be answered."""
    if save_features:
        examination.refuse_without_features()
    examination.refuse_impossible(asked)
    return asked


def restored(loaded: Loaded, builder: Builder, path: Path) -> tuple[Method, dict[str, Any], str]:
    """A checkpoint's method, what it says about itself, with what is other `at_test`, and its hash.

    Raises:
        UserError: where the file is no checkpoint of this config's network.
    """
    method, held, own = builder.method(), checkpoint.load(path), builder.meta(loaded.cfg.STAGES[-1])
    digest = checkpoint.sha256(path)
    checkpoint.restore_for_test(method, held["method"], path)
    refuse_other_network(own, held["meta"], path)
    return method, held["meta"] | {"at_test": changed_at_test(own, held["meta"])}, digest


def prepare_machine(name: str, threads: int) -> tuple[torch.device, str | None]:
    """Choose the device and set the process up for it."""
    where, note = device.choose(name)
    if not 0 <= threads <= MOST_THREADS:
        raise UserError(f"--threads is {threads}; give 1 to {MOST_THREADS}, or 0 for PyTorch's choice.")
    if threads:
        torch.set_num_threads(threads)
    device.tune_allocator()
    return where, note


def environment(where: torch.device) -> dict[str, Any]:
    """What a run ran on, for env.json."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": device.describe(where),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def _commit() -> str:
    """The checkout's git commit, with + where files differ from it; the version where there is no git."""
    git = ["git", "describe", "--always", "--dirty=+", "--abbrev=40"]
    if (ROOT / ".git").exists():  # else git would describe a repository that an installed package happens to lie in
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return f"version {__version__}"
