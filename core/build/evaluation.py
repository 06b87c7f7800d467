"""Evaluators, trained networks and their cached features, as a configuration describes them."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.episodes import EpisodeSampler
from ..data.loaders import Pixels
from ..data.store import Split
from ..engine import checkpoint, device
from ..engine.cache import FeatureCache
from ..engine.evaluator import Evaluator
from ..engine.selection import changed_at_test, refuse_different_network
from ..methods.base import Method
from .data import Data, episode_sampler
from .networks import build_method, describe

FEATURES_VERSION = 1  # raise it when an encoding changes for a reason that no source file of the method shows


@dataclass(frozen=True)
class Network:
    """A method to evaluate: that of a checkpoint, or one as it was initialised."""

    method: Method
    path: Path | None = None  # of the checkpoint; None = as initialised
    meta: dict[str, Any] = field(default_factory=dict)  # what the checkpoint says about itself
    sha256: str = ""  # of the checkpoint
    at_test: dict[str, Any] = field(default_factory=dict)  # arguments whose value differs from the checkpoint's


def restore(data: Data, path: Path, with_objective: bool = False) -> Network:
    """The network of a checkpoint; its objective is of interest to studies alone, and left out otherwise.

    Raises:
        UserError: where the file is no checkpoint of this configuration's network.
    """
    (saved, sha256), wanted = checkpoint.load_with_hash(path), describe(data)
    refuse_different_network(wanted, saved["meta"], path)
    method = build_method(data)
    load = checkpoint.restore if with_objective else checkpoint.restore_for_test
    load(method, saved["method"], path)
    return Network(method, path, saved["meta"], sha256, changed_at_test(wanted, saved["meta"]))


def build_evaluator(data: Data, name: str, stage: str = "") -> Evaluator:
    """An evaluator of the val or the test split, on the episodes of TASK or of a stage's VAL."""
    sampler = episode_sampler(data, name, data.cfg.EVAL.SEED, stage)
    return evaluator_on(data, data.split(name), data.pixels(name), sampler, name)


def evaluator_on(data: Data, split: Split, pixels: Pixels, sampler: EpisodeSampler, name: str = "") -> Evaluator:
    """An evaluator of any images; `name` is the split's, where it is one of the configuration's."""
    return Evaluator(
        split,
        sampler,
        pixels,
        base=lambda: (data.split("train"), data.pixels("train")),
        words=lambda: data.words(name or "train"),
        first_class=data.first_class(name) if name else 0,
        memory_mb=data.cfg.EVAL.MEMORY_MB,
        batch=data.cfg.EVAL.BATCH,
        bf16=data.cfg.EVAL.PRECISION == "bf16",
        views=data.views,
    )


def feature_cache(data: Data, network: Network, split: Split) -> FeatureCache | None:
    """Where a network's features of a split belong on disk; None for an untrained one, or where EVAL.CACHE is off.

    The key holds everything the features depend on.
    """
    cfg, manifest = data.cfg.EVAL, split.manifest
    if network.path is None or not cfg.CACHE:
        return None
    wanted = describe(data)
    key = {"checkpoint": network.sha256, "method": wanted["method"], "backbone": wanted["backbone"]}
    key |= {name: manifest.get(name) for name in ("pixels_sha256", "fingerprint", "mean", "std")}
    key |= {"image_size": split.size, "precision": cfg.PRECISION, "batch": cfg.BATCH}
    key |= {"device": device.describe(data.device), "torch": torch.__version__}
    if "parts" in network.method.needs:
        key |= {"views": list(data.cfg.DATASET.VIEWS), "ratio": data.cfg.DATASET.PATCH_RATIO}
    key |= {"version": FEATURES_VERSION, "code": _code_of(network.method)}
    return FeatureCache(Path(data.cfg.DATASET.ROOT) / "features", key, cfg.CACHE_MB)


def _code_of(method: Method) -> str:
    """Hash of the source files that define a method and its network: who changes them gets new features."""
    classes = {c for module in method.modules() for c in type(module).__mro__}
    modules = {c.__module__ for c in classes if not c.__module__.startswith(("torch.", "builtins"))}
    files = {getattr(sys.modules.get(name), "__file__", None) or "" for name in modules}
    digest = hashlib.sha256()
    for file in sorted(filter(os.path.isfile, files), key=os.path.basename):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()
