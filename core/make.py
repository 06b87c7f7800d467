"""From names in a configuration to networks: schemas, loading, and methods with their backbone and objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from .backbones.blocks import Backbone
from .config import Config, Loaded, Schemas, load, plugins
from .config.defaults import DEFAULTS
from .config.provenance import COMMAND_LINE
from .data.episodes import Shape
from .episode import DataInfo
from .errors import UserError
from .methods.base import Method
from .ops import random
from .paths import find_config
from .registry import BACKBONES, METHODS, OBJECTIVES, import_all, import_plugins

# Prefixes of the keys that do not change what is measured.
MEASURES_THE_SAME = ("EVAL.", "DATASET.ROOT", "SEED", "PLUGINS", "REFERENCE.")
NO_REFERENCE = [f"REFERENCE.{key}={value}" for key, value in DEFAULTS["REFERENCE"].items()]


def schemas() -> Schemas:
    """Every registered class with its arguments and their defaults."""
    for package in ("backbones", "objectives", "methods"):
        import_all(f"{__package__}.{package}")
    kinds = (METHODS, BACKBONES, OBJECTIVES)
    return Schemas(*({name: kind.arguments(name) for name in kind} for kind in kinds))


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read a YAML file, or the one of that name that comes with the project, after importing what its PLUGINS name.

    Its REFERENCE is left out where the command line changes what is measured.
    """
    file, notes = find_config(path)
    import_plugins(plugins(file, overrides))
    loaded = load(file, overrides, schemas())
    given = [key for key, source in loaded.sources.items() if source == COMMAND_LINE]
    if not (
        all(key.startswith(MEASURES_THE_SAME) for key in given) or any(key.startswith("REFERENCE.") for key in given)
    ):
        loaded = load(file, [*overrides, *NO_REFERENCE], schemas())
    loaded.notes.extend(notes)
    return loaded


def make_method(cfg: Config, stage: str, info: DataInfo) -> Method:
    """The method of a stage with its backbone and objective, initialised from SEED."""
    node = cfg.STAGE[stage]
    torch.manual_seed(random.key("initialise", cfg.SEED, node.METHOD) & 0x7FFFFFFF)
    method = METHODS[node.METHOD](make_backbone(cfg, info, node.METHOD), info, **node.ARGS)
    objective = OBJECTIVES[node.OBJECTIVE.NAME](**node.OBJECTIVE.ARGS)
    if objective.needs_cosine and not method.cosine_logits:
        raise UserError(
            f"OBJECTIVE.NAME is {node.OBJECTIVE.NAME}, which needs logits that are cosines, but those of "
            f"{node.METHOD} are not; choose another objective or a cosine method."
        )
    objective.refuse(method.logit_scale)
    objective.prepare(info.n_base if node.STREAM == "batches" or method.loss_over_base else info.way)
    method.objective = objective
    return method


def make_backbone(cfg: Config, info: DataInfo, method: str) -> Backbone:
    """The backbone, which must fit what the data set holds and the method needs."""
    name, kind = cfg.BACKBONE.NAME, BACKBONES[cfg.BACKBONE.NAME]
    if (kind.input_dims == 1) != bool(info.features):
        hint = "set it to Features" if info.features else "choose a network, such as Conv4"
        raise UserError(
            f"BACKBONE.NAME is {name}, but DATASET.TRAIN.NAME {cfg.DATASET.TRAIN.NAME} holds "
            f"{'features' if info.features else 'images'}; {hint}."
        )
    asked = [need for need in METHODS[method].needs if need in ("map", "parts")]
    if info.features and asked:
        raise UserError(
            f"METHOD.NAME is {method}, which needs {asked[0]!r} of images, but DATASET.TRAIN.NAME "
            f"{cfg.DATASET.TRAIN.NAME} holds vectors; choose a method on vectors, such as ProtoNet."
        )
    return kind(info.features or info.image_size, cfg.BACKBONE.VECTOR, **cfg.BACKBONE.ARGS)


def task_shape(cfg: Config, name: str) -> Shape:
    """The shape of episodes of "train", "val" or "test"; only test episodes can be uneven."""
    task = cfg.TASK[name.upper()]
    shots, queries = tuple(task.get("SHOTS", ())), task.get("QUERIES", 0)
    return Shape(task.WAY, max(shots, default=task.SHOT), 0 if queries else task.QUERY, shots, queries)
