"""What a margin does to accuracy and to features, on base and on novel classes.

The question of Liu et al., "Negative Margin Matters", ECCV 2020, section 4, for any objective with a margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..build.config import load_config
from ..build.data import Data, task_shape
from ..build.evaluation import build_evaluator, evaluator_on, restore
from ..build.networks import build_method
from ..commands import train
from ..config import Loaded
from ..data.datasets import dataset
from ..data.episodes import EpisodeSampler
from ..engine import checkpoint, device
from ..engine.evaluator import Evaluator
from ..engine.features import FeatureSource
from ..engine.selection import best_checkpoint
from ..episode import Batch
from ..errors import UserError
from ..files import write_text
from ..log import start_log
from ..ops.class_spread import class_spread
from ..registry import OBJECTIVES
from ..report.plots import Panel, plot_table
from ..report.run import RunFolder, run_name
from ..report.stats import interval
from ..report.tables import as_csv

AT_ONCE = 4096  # images that a classifier of base classes answers together
PANELS = (
    Panel("base classes: accuracy of episodes, %", "base_accuracy", "base_ci95"),
    Panel("novel classes: accuracy of episodes, %", "novel_accuracy", "novel_ci95"),
    Panel("base classes: variance between / within", "base_ratio"),
    Panel("novel classes: variance between / within", "novel_ratio"),
    Panel("base classes: accuracy among all of them, %", "base_classifier"),
)


@dataclass(frozen=True)
class _Network:
    """A trained network and the config of its margin."""

    margin: float
    loaded: Loaded
    file: Path


def study_margins(
    cfg_file: str,
    overrides: Sequence[str],
    margins: Sequence[float],
    checkpoints: Sequence[str] = (),
    *,
    device_name: str = "0",
    threads: int = 0,
    base: str = "checkpoint",
    tag: str = "",
    out: str = "",
) -> Path:
    """Train a config at several margins, or take a checkpoint for each, and write margin.csv and margin.png.

    Runs that are complete are taken as they are, others are resumed. Returns the folder of the two files.

    Args:
        cfg_file: YAML file.
        overrides: of its keys.
        margins: values of OBJECTIVE.ARGS.margin.
        checkpoints: one file for each margin; none = train.
        device_name: number of a GPU, or cpu.
        threads: of the CPU; 0 = PyTorch's choice.
        base: folder of the run folders.
        tag: suffix of their names; the margin follows it.
        out: folder of the two files; "" = beside the runs.
    """
    _refuse_without_margin(load_config(cfg_file, overrides), margins, checkpoints)
    configs = [load_config(cfg_file, [*overrides, _override(m)]) for m in margins]
    where, _ = device.prepare(device_name, threads)
    for loaded in configs:
        _refuse_unfit(loaded, where)
    pairs = zip(checkpoints, margins, strict=True) if checkpoints else ()
    files = [_of_margin(Path(file), margin) for file, margin in pairs]
    for margin, loaded in zip(margins, configs, strict=True) if not files else ():
        name = f"{tag}_m{margin:g}".lstrip("_")
        keys = [*overrides, _override(margin)]
        run = train(cfg_file, keys, base=base, tag=name, resume=True, device_name=device_name, threads=threads)
        files.append(RunFolder(run).best(loaded.cfg.TASK.TEST.WAY, loaded.cfg.TASK.TEST.SHOT))
    return _write(list(map(_Network, margins, configs, files)), where, Path(out or Path(base) / _name(configs[0], tag)))


def _write(networks: Sequence[_Network], where: torch.device, folder: Path) -> Path:
    """Measure the networks; write the table and the figure into a folder."""
    log = start_log()
    rows = []
    for network in networks:
        rows.append(_measure(network, where))
        log.info("%s", "  ".join(f"{k} {v:.4g}" for k, v in rows[-1].items() if isinstance(v, float)))
    table, figure = folder / "margin.csv", folder / "margin.png"
    write_text(table, as_csv(list(rows[0]), [list(row.values()) for row in rows]) + "\n")
    plot_table(table, figure, "margin", "margin", PANELS)
    log.info("table  %s\nfigure  %s", table, figure)
    return folder


def _name(loaded: Loaded, tag: str) -> str:
    """Of the folder of the table, as a run's with `margins` at its end."""
    train_set = dataset(loaded.cfg.DATASET.TRAIN.NAME).name
    return run_name(train_set, loaded.stem, loaded.cfg.SEED, f"{tag}_margins".lstrip("_"))


def _override(margin: float) -> str:
    return f"OBJECTIVE.ARGS.margin={margin!r}"


def _refuse_without_margin(loaded: Loaded, margins: Sequence[float], checkpoints: Sequence[str]) -> None:
    """The objective has a margin, and there is a checkpoint for each value."""
    name = loaded.cfg.OBJECTIVE.NAME
    if "margin" not in OBJECTIVES.arguments(name).defaults:
        able = ", ".join(kind for kind in OBJECTIVES if "margin" in OBJECTIVES.arguments(kind).defaults)
        raise UserError(f"OBJECTIVE.NAME is {name}, which has no margin; choose one of: {able}.")
    if not margins or len(set(margins)) < len(margins):
        raise UserError(f"--margins lists {list(margins)}; give each margin once.")
    if checkpoints and len(checkpoints) != len(margins):
        raise UserError(
            f"--checkpoints names {len(checkpoints)} files for {len(margins)} margins; give one for each, in order."
        )


def _refuse_unfit(loaded: Loaded, where: torch.device) -> None:
    """Some stage trains with the objective whose margin is changed, and the method has what is measured."""
    stages = [loaded.cfg.STAGE[name].OBJECTIVE for name in loaded.cfg.STAGES]
    if not any(stage == loaded.cfg.OBJECTIVE for stage in stages):
        raise UserError(
            "--margins changes OBJECTIVE.ARGS.margin, but every stage has an OBJECTIVE of its own; leave "
            "STAGE.*.OBJECTIVE.NAME empty where the margin is meant."
        )
    method = build_method(Data(loaded.cfg, where))
    if "vector" not in method.needs:
        raise UserError(
            f"METHOD.NAME is {method.name}, which does not encode the feature 'vector' that the margin study measures; "
            "choose a method on vectors, such as NegMargin."
        )


def _of_margin(file: Path, margin: float) -> Path:
    """A checkpoint, once its run's config does not contradict the margin."""
    file = best_checkpoint(file)
    checkpoint.refuse_missing(file)
    config = file.parent / "config.yaml"
    if config.is_file():
        trained = load_config(config).cfg.OBJECTIVE.ARGS.get("margin")
        if trained != margin:
            raise UserError(f"{file} was trained with margin {trained}, but --margins has {margin} in its place.")
    return file


def _measure(network: _Network, where: torch.device) -> dict[str, Any]:
    """One line of the table."""
    data = Data(network.loaded.cfg, where)
    method = restore(data, network.file, with_objective=True).method
    row = {"margin": network.margin} | method.scalars()
    for part in ("base", "novel"):
        evaluator = _evaluator(data, part)
        source = evaluator.source(method)
        accuracy = interval(evaluator.classify(source, data.cfg.EVAL.EPISODES).accuracy)
        row |= {f"{part}_accuracy": accuracy.mean, f"{part}_ci95": accuracy.ci95}
        row |= _features(part, source, torch.from_numpy(evaluator.split.labels))
    return row | {"checkpoint": str(network.file)}


def _evaluator(data: Data, part: str) -> Evaluator:
    """Test episodes of the novel classes, or of the base classes: there of held-out images, if DATASET keeps any."""
    cfg = data.cfg
    if part == "novel":
        return build_evaluator(data, "test")
    held_out = cfg.DATASET.BASE_HOLDOUT > 0
    split, pixels = data.held_out() if held_out else (data.split("train"), data.pixels("train"))
    sampler = EpisodeSampler(split, task_shape(cfg, "test"), cfg.EVAL.SEED, "TASK.TEST")
    return evaluator_on(data, split, pixels, sampler)


@torch.no_grad()
def _features(part: str, source: FeatureSource, labels: torch.Tensor) -> dict[str, Any]:
    """Spread of all features of a split, and what a classifier of base classes makes of them."""
    everything = torch.arange(len(labels))
    source.prepare(everything)
    vectors = source.gather(everything[None])["vector"][0]
    between, within = class_spread(vectors.cpu(), labels)
    spread = {f"{part}_between": between, f"{part}_within": within, f"{part}_ratio": between / within}
    if part == "base" and "batches" in source.method.streams:
        spread["base_classifier"] = _base_accuracy(source, labels)
    return spread


def _base_accuracy(source: FeatureSource, labels: torch.Tensor) -> float:
    """Percent of base images that the classifier of all base classes puts right."""
    right = 0
    for ids in torch.arange(len(labels)).split(AT_ONCE):
        features = {name: value[0] for name, value in source.gather(ids[None]).items()}
        answers = source.method.batch_logits(Batch(features, labels[ids])).argmax(1)
        right += int((answers.cpu() == labels[ids]).sum())
    return 100 * right / len(labels)
