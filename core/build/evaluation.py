"""Evaluators, trained networks and their cached features, as a configuration describes them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..backbones.blocks import ExternalData
from ..data.episodes import EpisodeSampler
from ..data.pixels import Pixels
from ..data.store import Split
from ..engine import checkpoint
from ..engine.at_test import changed_keys, completed
from ..engine.cache import FeatureCache
from ..engine.encoder_weights import state_hash
from ..engine.epoch_ensemble import EpochEnsemble
from ..engine.evaluator import Evaluator
from ..engine.kept_epochs import best_epochs
from ..engine.selection import changed_arguments, refuse_different_network
from ..errors import UserError
from ..methods.base import Method
from ..pictures import ClassPicture
from ..registry import OBJECTIVES
from .config import last_stage, stage_node
from .data import Data, episode_sampler, task_shape
from .identity import describe, features_key, other_store
from .networks import build_method, data_info, step_classes

UNTRAINED = "untrained"


@dataclass(frozen=True)
class Network:
    """A method to evaluate: that of a checkpoint, or one as it was initialised."""

    method: Method
    path: Path | None = None  # of the checkpoint; None = as initialised
    folder: Path = Path()  # of its results: one for each answer is made there
    meta: dict[str, Any] = field(default_factory=dict)  # what the checkpoint says about itself
    sha256: str = ""  # of the checkpoint, or of the weights that it started from; "" = random ones
    # Arguments (scale) and keys (DATASET.VIEWS) whose value differs from the checkpoint's.
    at_test: dict[str, Any] = field(default_factory=dict)
    # Weights from elsewhere that it started from (`ExternalData`); None where it learned from base classes alone.
    external: dict[str, str] | None = None
    store: str = ""  # a short name for the content of the data, where it is not what the checkpoint knows


def restore(data: Data, path: Path, with_objective: bool = False) -> Network:
    """The network of a checkpoint; its objective is of interest to studies alone, and left out otherwise.

    Raises:
        UserError: where the file is no checkpoint of this configuration's network.
    """
    (saved, sha256), wanted = checkpoint.load_with_hash(path), describe(data)
    meta = saved["meta"]
    refuse_different_network(wanted, meta, path)
    method = build_method(data, weights=False)
    load = checkpoint.restore if with_objective else checkpoint.restore_for_test
    load(method, saved["method"], path)
    at_test = changed_arguments(wanted, meta) | changed_keys(wanted, completed(meta, path))
    external = meta.get("external")
    method.backbone.external = ExternalData(**external) if external else None
    folder = path.parent / "eval" / path.stem
    return Network(method, path, folder, meta, sha256, at_test, external, other_store(wanted, meta))


def measured(data: Data, path: Path) -> Network:
    """The network that a configuration evaluates: that of a checkpoint, or EVAL.ENSEMBLE epochs of its run as one.

    Raises:
        UserError: where the run kept fewer epochs, or they are of another configuration's network.
    """
    network, count = restore(data, path), data.cfg.EVAL.ENSEMBLE
    if count == 1:
        return network
    members = [restore(data, file) for file in best_epochs(path.parent, count)]
    if network.meta != members[0].meta:
        raise UserError(f"{members[0].path} is of another run than {path}; train again, or set EVAL.ENSEMBLE to 1.")
    method = EpochEnsemble([member.method for member in members], data_info(data, last_stage(data.cfg)))
    together = hashlib.sha256("".join(member.sha256 for member in members).encode())
    return replace(network, method=method, sha256=together.hexdigest())


def initialised(data: Data, run: Path = Path()) -> Network:
    """The network as it is before any training; that of an encoder has the weights it came with.

    `run` is the folder that receives its results.
    """
    method = build_method(data)
    network = Network(method, folder=run / "eval" / UNTRAINED, meta={"seed": data.cfg.SEED})
    external = method.backbone.external
    if not external:
        return network
    return replace(network, sha256=state_hash(method.state_dict()), external=external.as_dict())


def objective_pictures(data: Data, network: Network) -> tuple[list[str], list[ClassPicture]]:
    """What a checkpoint's objective shows of a training step, and the names of the base classes in it.

    Nothing for objectives that read no word vectors, and where the configuration's objective is not the checkpoint's.
    """
    last = last_stage(data.cfg)
    if network.path is None or not OBJECTIVES[stage_node(data.cfg, last).OBJECTIVE.NAME].needs_semantics:
        return [], []
    try:
        method = restore(data, network.path, with_objective=True).method.eval()
    except UserError:  # it was trained with another objective, or for another number of classes
        return [], []
    classes = data.split("train").classes
    count = step_classes(data.cfg, last, method, data_info(data, last))
    chosen = torch.linspace(0, len(classes) - 1, count).round().long()
    names = [classes[number] for number in chosen.tolist()]
    return names, method.objective.pictures(data.words("train")[chosen].to(data.device))


def build_evaluator(data: Data, name: str, stage: str = "") -> Evaluator:
    """An evaluator of the val or the test split, on the episodes of TASK or of a stage's VAL."""
    sampler = episode_sampler(data, name, data.cfg.EVAL.SEED, stage)
    return evaluator_on(data, data.split(name), data.pixels(name), sampler, name)


def refuse_test(data: Data) -> None:
    """Refuse test episodes that the test split cannot give, without opening it.

    Raises:
        UserError: where it has too few classes or images.
    """
    cfg = data.cfg
    EpisodeSampler(data.outline("test"), task_shape(cfg, "test"), cfg.EVAL.SEED, "TASK.TEST")


def evaluator_on(data: Data, split: Split, pixels: Pixels, sampler: EpisodeSampler, name: str = "") -> Evaluator:
    """An evaluator of any images; `name` is the split's, where it is one of the configuration's."""
    return Evaluator(
        split,
        sampler,
        pixels,
        base=lambda: (data.split("train"), data.pixels("train")),
        base_limit=data.cfg.EVAL.BASE_IMAGES,
        words=lambda: data.words(name or "train"),
        first_class=data.first_class(name) if name else 0,
        memory_mb=data.cfg.EVAL.MEMORY_MB,
        batch=data.cfg.EVAL.BATCH,
        bf16=data.cfg.EVAL.PRECISION == "bf16",
        views=data.views,
        eval_crop=data.cfg.DATASET.EVAL_CROP,
    )


def feature_cache(data: Data, network: Network, split: Split) -> FeatureCache | None:
    """Where a network's features of a split belong on disk; None for random weights, or where EVAL.CACHE is off."""
    return _cache(data, network, split, {})


def means_cache(data: Data, network: Network) -> FeatureCache | None:
    """Where the mean features of the base classes belong on disk, likewise."""
    return _cache(data, network, data.split("train"), {"class means over": data.cfg.EVAL.BASE_IMAGES or "all"})


def _cache(data: Data, network: Network, split: Split, more: dict[str, Any]) -> FeatureCache | None:
    """The table of a network's features of a split, and of what else tells it from another one."""
    if not network.sha256 or not data.cfg.EVAL.CACHE:
        return None
    key = features_key(data, network.method, split, network.sha256) | more
    return FeatureCache(Path(data.cfg.DATASET.ROOT) / "features", key, data.cfg.EVAL.CACHE_MB)
