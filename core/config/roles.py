"""What the keys of a configuration do to the identity of a result, derived from their roles in core/config/defaults.py.

A role speaks of a resolved configuration, in which every inherited value is written out: there METHOD trains nothing
by itself, but the stages that took its value do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from yacs.config import CfgNode

from ..registry import BACKBONES, METHODS, OBJECTIVES, Registry
from .defaults import DEFAULTS, STAGE, find_key
from .keys import Role
from .provenance import flatten
from .schema import inherit

CLASSES = {"METHOD": METHODS, "BACKBONE": BACKBONES, "OBJECTIVE": OBJECTIVES}


def with_role(cfg: Mapping[str, Any], *roles: Role) -> dict[str, Any]:
    """The keys of a resolved configuration that have any of these roles, flat, with their values.

    "encodes" gives what the features of a test image depend on beside the weights, "measures" what identifies the
    quantity that is measured at test.
    """
    return {key: value for key, value in flatten(cfg).items() if roles_of(key) & set(roles)}


def roles_of(key: str) -> frozenset[Role]:
    """The roles of a key; an unknown one, which a configuration saved by an older version may have, trains."""
    entry = find_key(key)
    return entry.roles if entry else frozenset({"trains"})


def shapes_weights(cfg: CfgNode, stage: str) -> dict[str, Any]:
    """The keys that shape the weights at the end of a stage, flat: those of the stages up to it, and what all share.

    TASK.TRAIN is among them where one of these stages draws episodes. The keys that name data or files (DATASET.*,
    STAGE.*.INIT) hold names, not content. Which of DATASET.VIEWS, SEMANTICS and the like a method reads is not known
    here.
    """
    stages = cfg.STAGES[: cfg.STAGES.index(stage) + 1]
    draws_episodes = any(cfg.STAGE[name].STREAM != "batches" for name in stages)
    kept: dict[str, Any] = {}
    for key, value in with_role(cfg, "trains", "varies").items():
        is_later = key.startswith("STAGE.") and key.split(".")[1] not in stages
        if not is_later and (draws_episodes or not key.startswith("TASK.TRAIN.")):
            kept[key] = value
    return kept | {"STAGES": list(stages)}


def recipe(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a run trained, flat, from the tree of its saved config.yaml: runs with equal recipes differ in SEED alone.

    A key that the version which saved the tree did not have counts as its default. What is measured at test is no part
    of the recipe: an evaluation says it itself. METHOD, which the stages name, is part of it where there is no stage.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: where the tree is no configuration.
    """
    trained = {key: value for key, value in saved_keys(saved, "trains", "varies").items() if key != "SEED"}
    if trained["STAGES"]:
        return trained
    return trained | {key: value for key, value in saved_keys(saved, "encodes").items() if key.startswith("METHOD.")}


def saved_keys(saved: Mapping[str, Any], *roles: Role) -> dict[str, Any]:
    """The keys of these roles in the tree of a saved config.yaml, flat; a key that it lacks has its default.

    So has an argument of a registered class, and former names of arguments count as the present ones.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: where the tree is no configuration.
    """
    names = saved.get("STAGES", DEFAULTS["STAGES"])
    tree = inherit(_merged(DEFAULTS | {"STAGE": {name: STAGE for name in names}}, saved))
    classes = {key: _completed(tree[key], registry) for key, registry in CLASSES.items()}
    stages = {name: _completed_stage(node) for name, node in tree["STAGE"].items()}
    return with_role(tree | classes | {"STAGE": stages}, *roles)


def reference_applies(overridden: Iterable[str]) -> bool:
    """Whether the file's REFERENCE is still for what is trained and measured when the command line sets these keys.

    A REFERENCE given on the command line itself always applies.
    """
    keys = list(overridden)
    if any(key.startswith("REFERENCE.") for key in keys):
        return True
    return not any(roles_of(key) & {"trains", "measures", "inherited"} for key in keys)


def _completed(node: Mapping[str, Any], registry: Registry, key: str = "NAME") -> dict[str, Any]:
    """A class and its ARGS, in present terms."""
    return {**node, "ARGS": registry.completed(node[key], node["ARGS"])}


def _completed_stage(node: Mapping[str, Any]) -> dict[str, Any]:
    """The method and the objective of a stage, in present terms."""
    return {**_completed(node, METHODS, "METHOD"), "OBJECTIVE": _completed(node["OBJECTIVE"], OBJECTIVES)}


def _merged(base: Any, over: Any) -> Any:
    """Mappings merge; anything else of `over` replaces."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    return {**base, **{key: _merged(base[key], value) if key in base else value for key, value in over.items()}}
