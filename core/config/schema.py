"""Which keys a configuration has, given the classes and stages it names."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..registry import nearest
from .defaults import DEFAULTS, STAGE
from .provenance import Settings, flatten

Arguments = dict[str, dict[str, Any]]  # class name -> {argument: default}


@dataclass(frozen=True)
class Schemas:
    """Every class a configuration may name, with its arguments and their defaults."""

    methods: Arguments
    backbones: Arguments
    objectives: Arguments

    def named_by(self, key: str) -> Arguments | None:
        """The classes among which a key's value is a name, if it is such a key."""
        kinds = {
            r"METHOD\.NAME|STAGE\.\w+\.METHOD": self.methods,
            r"BACKBONE\.NAME": self.backbones,
            r"(STAGE\.\w+\.)?OBJECTIVE\.NAME": self.objectives,
        }
        return next((classes for pattern, classes in kinds.items() if re.fullmatch(pattern, key)), None)


def canonical_names(given: Settings, schemas: Schemas) -> Settings:
    """The settings with every class name in its registered spelling."""
    out = dict(given)
    for key, (value, source) in given.items():
        classes = schemas.named_by(key)
        if classes is not None and not _is_inherited(key, value):
            out[key] = out[key]._replace(value=_registered(key, str(value), classes, source))
    return out


def template(given: Settings, schemas: Schemas) -> dict[str, Any]:
    """Every key that a configuration with these (spelled) settings has, flat, with its default."""

    def arguments(key: str, default: str) -> dict[str, Any]:
        name = value_of(given, key, default)
        classes = schemas.named_by(key)
        return _as_tree(classes[_registered(key, name, classes, "default")]) if name else {}

    tree = copy.deepcopy(DEFAULTS)
    for group in ("BACKBONE", "METHOD", "OBJECTIVE"):
        tree[group]["ARGS"] = arguments(f"{group}.NAME", tree[group]["NAME"])
    for name in _stage_names(given):
        stage = tree["STAGE"][name] = copy.deepcopy(STAGE)
        stage["ARGS"] = arguments(f"STAGE.{name}.METHOD", "")
        stage["OBJECTIVE"]["ARGS"] = arguments(f"STAGE.{name}.OBJECTIVE.NAME", "")
    return flatten(tree)


def inherit(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with every "as X" replaced by the value of X."""
    out = copy.deepcopy(tree)
    dataset, task = out["DATASET"], out["TASK"]
    for split in ("TRAIN", "VAL", "TEST"):
        dataset[split]["NAME"] = dataset[split]["NAME"] or dataset["NAME"]
    for split in ("TRAIN", "VAL"):
        task[split] = {key: number or task["TEST"].get(key, 0) for key, number in task[split].items()}
    for stage in out["STAGE"].values():
        if not stage["METHOD"]:
            stage["METHOD"], stage["ARGS"] = out["METHOD"]["NAME"], copy.deepcopy(out["METHOD"]["ARGS"])
        if not stage["OBJECTIVE"]["NAME"]:
            stage["OBJECTIVE"] = copy.deepcopy(out["OBJECTIVE"])
        stage["VAL"] |= {key: stage["VAL"][key] or number for key, number in task["VAL"].items()}
    return out


def value_of(given: Settings, key: str, default: Any) -> Any:
    """What a key is set to, or the default."""
    return given[key].value if key in given else default


def _stage_names(given: Settings) -> list[str]:
    names = value_of(given, "STAGES", DEFAULTS["STAGES"])
    source = given["STAGES"].source if "STAGES" in given else "default"
    if not isinstance(names, list) or not all(isinstance(n, str) and re.fullmatch(r"\w+", n) for n in names):
        raise UserError(f"{source}: STAGES is {names!r}, but it must be a list of plain words, e.g. [pretrain, meta].")
    return names


def _registered(key: str, name: str, classes: Mapping[str, Any], source: str) -> str:
    for known in classes:
        if known.lower() == name.lower():
            return known
    known = ", ".join(sorted(classes))
    raise UserError(f"{source}: {key} is {name!r}, which is not one of: {known}{nearest(name, classes)}.")


def _is_inherited(key: str, name: Any) -> bool:
    return key.startswith("STAGE.") and name == ""


def _as_tree(arguments: dict[str, Any]) -> dict[str, Any]:
    """Tuples become lists, which is what a YAML can hold."""
    return {name: list(default) if isinstance(default, tuple) else default for name, default in arguments.items()}
