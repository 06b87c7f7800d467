"""The YAML files that come with the project, loaded once, and the different networks among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from core.build.config import load_config
from core.config import Config, Loaded
from core.episode import DataInfo

ROOT = Path(__file__).parents[2] / "configs"
NO_DATASETS = ("_base_", "suites")
DATASETS = sorted(folder.name for folder in ROOT.iterdir() if folder.name not in NO_DATASETS)
SIDE, LENGTH = 32, 64  # of images, and of stored features
NARROW = 8  # channels of the first block, where a backbone has such an argument


def leaves(dataset: str = "*") -> list[str]:
    """Names such as Glyphs/ProtoNet_N5K1_C4.yaml, of one data set or of all."""
    return sorted(str(p.relative_to(ROOT)) for p in ROOT.glob(f"{dataset}/*.yaml") if p.parent.name not in NO_DATASETS)


@cache
def loaded(leaf: str) -> Loaded:
    return load_config(ROOT / leaf)


def narrowed(cfg: Config) -> Config:
    """The same configuration with fewer channels, or smaller images for an encoder."""
    cfg = cfg.clone()
    cfg.defrost()
    if "width" in cfg.BACKBONE.ARGS and cfg.BACKBONE.NAME != "Features":
        cfg.BACKBONE.ARGS.width = NARROW
    if "size" in cfg.BACKBONE.ARGS:  # of an encoder
        cfg.BACKBONE.ARGS.size = SIDE
    return cfg


def info(cfg: Config, *, way: int = 0) -> DataInfo:
    """What a method may know of a small data set of 8 base classes."""
    task = cfg.TASK.TRAIN
    features = LENGTH if cfg.BACKBONE.NAME == "Features" else 0
    side = 0 if features else SIDE
    words = torch.eye(8)[:, :6] + 1
    return DataInfo(8, side, way or task.WAY, task.SHOT, task.QUERY, features, words=lambda: words)


def distinct(configs: Mapping[str, Config], *, floats: bool) -> dict[str, Config]:
    """One of all configurations whose networks and steps are the same; without `floats` real numbers do not count."""
    chosen: dict[str, tuple[str, Config]] = {}
    for leaf, cfg in configs.items():
        stages = [[node.METHOD, node.ARGS, node.OBJECTIVE, node.STREAM] for node in cfg.STAGE.values()]
        tree = [stages, cfg.BACKBONE, cfg.DATASET.VIEWS]
        chosen.setdefault(json.dumps(tree if floats else _without_floats(tree)), (leaf, cfg))
    return dict(chosen.values())


def _without_floats(node):
    """The tree with 0 for every real number."""
    if isinstance(node, dict):
        return {key: _without_floats(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_floats(value) for value in node]
    return 0.0 if isinstance(node, float) else node
