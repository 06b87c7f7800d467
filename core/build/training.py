"""The stages of a configuration, ready to be trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import Config
from ..config.check_stage import warmup_steps_end
from ..data import augment
from ..data.ahead import Ahead
from ..data.base_queries import BaseQueries
from ..data.episodes import EpisodeSampler
from ..data.loaders import Augmentation, BatchStream, EpisodeStream, ShotRange, TaskBuilder
from ..engine.frozen import FrozenNetwork
from ..engine.heads import used_by_forward
from ..engine.optim import Recipe
from ..engine.precision import chosen, refuse_unused
from ..engine.stage_run import Stage
from ..engine.trainer import Trainer
from ..engine.weights import take_weights
from ..errors import UserError
from ..methods.base import Method
from ..ops import random
from ..ranks import current
from ..report.run import RunFolder
from .data import Data, training_shapes
from .evaluation import build_evaluator, initialised, means_cache
from .identity import describe, learned_from, stage_key
from .networks import build_method, trains_on_words
from .saved import self_portrait

About = Callable[[str, Method], dict[str, Any]]  # stage and method -> what a checkpoint says about itself

Stream = EpisodeStream | ShotRange | BatchStream


def build_trainer(data: Data, run: RunFolder, stem: str, pretrained: Path, text: str = "") -> Trainer | FrozenNetwork:
    """A trainer of all stages; the earlier ones are shared through the folder `pretrained`.

    Without stages it is the network as it came, see `FrozenNetwork`. `text` is the configuration as YAML, for the
    checkpoints.
    """
    about = partial(_meta, data, text, {"stem": stem, "run": run.path.name})
    if not data.cfg.STAGES:
        return _frozen(data, run, about)
    methods = _methods(data)
    shared = _shared_files(data, methods, pretrained)
    stages = [_stage(data, name, methods[name], run, about, shared[name]) for name in data.cfg.STAGES]
    return Trainer(stages, run, data.device, 60 * data.cfg.SAVE_MINUTES)


def _frozen(data: Data, run: RunFolder, about: About) -> FrozenNetwork:
    """The network of a configuration without stages, which has classified one episode."""
    network, test = initialised(data), data.cfg.TASK.TEST
    method, evaluator = network.method, build_evaluator(data, "test")
    source = evaluator.source(method, base_cache=partial(means_cache, data, network))
    sampler = evaluator.sampler
    learned = used_by_forward(source.method, lambda: evaluator.task(source, sampler.draw(torch.arange(1))))
    learned = [name for name in learned if not name.startswith("backbone.")]
    if learned:
        raise UserError(
            f"STAGES is empty, but {method.name} has parameters that must be learned ({learned[0]}); name a stage, or "
            "choose a method that has none, such as SimpleShot, ProtoNet or RFS."
        )
    return FrozenNetwork(method, run.best(test.WAY, test.SHOT), about("", method))


def _meta(data: Data, text: str, names: dict[str, str], stage: str, method: Method) -> dict[str, Any]:
    """What a checkpoint of a stage says about itself."""
    external = method.backbone.external
    return (
        describe(data, stage)
        | {**names, "data": learned_from(data, method)}
        | (self_portrait(data, method, text) if text else {})
        | ({"external": external.as_dict()} if external else {})
    )


def shared_files(data: Data, pretrained: Path) -> dict[str, Path | None]:
    """Where the folder `pretrained` keeps each stage for all configs with the same one; None for the last."""
    return _shared_files(data, _methods(data), pretrained)


def _methods(data: Data) -> dict[str, Method]:
    """The methods of all stages, by the stage's name."""
    return {name: build_method(data, name) for name in data.cfg.STAGES}


def _shared_files(data: Data, methods: dict[str, Method], pretrained: Path) -> dict[str, Path | None]:
    cfg, dataset = data.cfg, data.split("train").dataset
    files: dict[str, Path | None] = {
        name: pretrained / f"{dataset}_{cfg.STAGE[name].METHOD}_{stage_key(data, methods, name)}.pth"
        for name in cfg.STAGES[:-1]
    }
    return files | dict.fromkeys(cfg.STAGES[-1:])


def build_streams(data: Data, stage: str, method: Method) -> Sequence[Stream | Ahead]:
    """What a step of a stage learns from; a batch stream comes last."""
    node = data.cfg.STAGE[stage]
    kinds = ["episodes", "batches"] if node.STREAM == "both" else [node.STREAM]
    refused = [kind for kind in kinds if kind not in method.streams]
    if refused:
        raise UserError(
            f"STAGE.{stage}.STREAM is {node.STREAM}, but {method.name} does not learn from {refused[0]}; "
            f"set it to {method.streams[0]}."
        )
    words = data.words("train") if trains_on_words(method) else None
    augmentation, ranks = _augmentation(data, stage, method), current()
    streams: list[Stream] = []
    if "episodes" in kinds:
        ranks.refuse_uneven(node.TASKS, f"STAGE.{stage}.TASKS")
        streams.append(_episodes(data, stage, words, augmentation))
    if "batches" in kinds:
        last_batch = len(data.split("train").labels) % node.BATCH or node.BATCH
        ranks.refuse_uneven(node.BATCH, f"STAGE.{stage}.BATCH")
        ranks.refuse_fewer(last_batch, f"STAGE.{stage}.BATCH leaves a last batch that")
        streams.append(BatchStream(data.pixels("train"), data.split("train"), node.BATCH, augmentation, words, ranks))
    return [Ahead(stream) for stream in streams] if data.pixels("train").is_remote else streams


def _episodes(data: Data, stage: str, words: Tensor | None, augmentation: Augmentation) -> EpisodeStream | ShotRange:
    """The training episodes of a stage."""
    split, train = data.split("train"), data.cfg.TASK.TRAIN
    others = len(split.classes) - train.WAY
    if train.BASE_QUERY and others == 0:  # the sampler refuses fewer
        raise UserError(
            f"TASK.TRAIN.WAY is {train.WAY}, which leaves no class of the train split of {split.dataset} for the base "
            f"queries that TASK.TRAIN.BASE_QUERY ({train.BASE_QUERY}) asks for; lower it."
        )
    base_queries = BaseQueries(split, train.BASE_QUERY) if train.BASE_QUERY else None
    seed = random.key("training", data.cfg.SEED, stage)
    streams = [
        EpisodeStream(
            data.pixels("train"),
            EpisodeSampler(split, shape, seed, "TASK.TRAIN"),
            TaskBuilder(shape, data.device, words=words),
            data.cfg.STAGE[stage].TASKS,
            augmentation,
            base_queries,
            current(),
        )
        for shape in training_shapes(data.cfg)
    ]
    return ShotRange(streams, seed) if len(streams) > 1 else streams[0]


def _augmentation(data: Data, stage: str, method: Method) -> Augmentation:
    """How a stage changes its training images."""
    names = data.cfg.STAGE[stage].AUGMENT
    transforms = augment.parse_transforms(names, f"STAGE.{stage}.AUGMENT")
    if transforms and data.split("train").features:
        raise UserError(f"STAGE.{stage}.AUGMENT is {names}, but features cannot be augmented; set it to [].")
    crops = data.views if "parts" in method.needed(training=True) else None
    return Augmentation(transforms, random.key(data.cfg.SEED, stage), crops)


def _instead(backbone: Config) -> str:
    """What to do where a stage has nothing to learn."""
    if backbone.NAME == "Features":
        return "set BACKBONE.ARGS.width, or evaluate it with run_evaluator.py --untrained"
    return "leave FREEZE empty, or set STAGES to [] and train nothing"


def _refuse_too_many_parts(data: Data, stage: str) -> None:
    """Refuse to compute a step in more parts than it has episodes or images."""
    node = data.cfg.STAGE[stage]
    for stream, key in (("episodes", "TASKS"), ("batches", "BATCH")):
        here = node[key] // current().count
        if node.STREAM in (stream, "both") and here < node.ACCUMULATE:
            raise UserError(
                f"STAGE.{stage}.ACCUMULATE is {node.ACCUMULATE}, but a step has {here} of STAGE.{stage}.{key}"
                f"{'' if current().alone else ' in each process'}; set it to {here} or less."
            )


def _stage(data: Data, name: str, method: Method, run: RunFolder, about: About, shared: Path | None) -> Stage:
    cfg, node, test = data.cfg, data.cfg.STAGE[name], data.cfg.TASK.TEST
    if node.FREEZE:
        method.backbone.requires_grad_(False)
    if not any(p.requires_grad for p in method.parameters()):
        raise UserError(
            f"STAGE.{name}.METHOD is {node.METHOD}, which has nothing to learn on {'a frozen ' if node.FREEZE else ''}"
            f"BACKBONE.NAME {cfg.BACKBONE.NAME}; {_instead(cfg.BACKBONE)}."
        )
    precision = chosen(node.PRECISION, data.device)
    refuse_unused(precision, method, f"STAGE.{name}.PRECISION")
    streams = build_streams(data, name, method)
    _refuse_too_many_parts(data, name)
    steps = node.STEPS or len(streams[-1])
    if problem := warmup_steps_end(f"STAGE.{name}", node, steps):  # where STEPS is 0, the YAML's rules do not know
        raise UserError(problem)
    return Stage(
        name=name,
        method=method,
        streams=streams,
        recipe=Recipe.from_node(node.OPTIM, steps),
        epochs=node.EPOCHS,
        steps=steps,
        evaluator=build_evaluator(data, "val", name),
        val_episodes=node.VAL.EPISODES,
        val_every=node.VAL.EVERY,
        select=node.SELECT,
        average=node.EMA,
        accumulate=node.ACCUMULATE,
        precision=precision,
        frozen_backbone=node.FREEZE == "backbone",
        frozen_bn=node.BN == "frozen",
        dropout=node.DROPOUT,
        updates=node.UPDATES,
        seed=cfg.SEED,
        keep=node.KEEP,
        best=run.path / f"best_{name}.pth" if shared else run.best(test.WAY, test.SHOT),
        shared=shared,
        meta=about(name, method),
        init=take_weights(method.backbone, Path(node.INIT)) if node.INIT else "",
    )
