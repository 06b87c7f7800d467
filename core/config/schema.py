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
from .provenance import Setting, Settings, flatten

Arguments = dict[str, dict[str, Any]]  # class name -> {argument: default}


@dataclass(frozen=True)
class Schemas:
    """Every class a configuration may name, with its arguments and their defaults."""

    methods: Arguments
    backbones: Arguments
    objectives: Arguments

    def named_by(self, key: str) -> Arguments | None:
        """The classes that the value of this key may name; None where the value is no class name."""
        kinds = {
            r"METHOD\.NAME|STAGE\.\w+\.METHOD": self.methods,
            r"BACKBONE\.NAME": self.backbones,
            r"(STAGE\.\w+\.)?OBJECTIVE\.NAME": self.objectives,
        }
        return next((classes for pattern, classes in kinds.items() if re.fullmatch(pattern, key)), None)


def canonical_names(settings: Settings, schemas: Schemas) -> Settings:
    """The settings with every class name spelled as it was registered.

    Raises:
        UserError: a name that no class has.
    """
    renamed = dict(settings)
    for key, (value, source) in settings.items():
        classes = schemas.named_by(key)
        if classes is not None and not _is_inherited(key, value):
            renamed[key] = Setting(_registered_name(key, str(value), classes, source), source)
    return renamed


def template(settings: Settings, schemas: Schemas) -> dict[str, Any]:
    """Every key that a configuration with these settings has, flat, with its default; class names are canonical."""

    def arguments(key: str, default: str) -> dict[str, Any]:
        name = value_of(settings, key, default)
        classes = schemas.named_by(key)
        return _as_yaml(classes[_registered_name(key, name, classes, "default")]) if name else {}

    tree = copy.deepcopy(DEFAULTS)
    for group in ("BACKBONE", "METHOD", "OBJECTIVE"):
        tree[group]["ARGS"] = arguments(f"{group}.NAME", tree[group]["NAME"])
    for name in _stage_names(settings):
        stage = tree["STAGE"][name] = copy.deepcopy(STAGE)
        stage["ARGS"] = arguments(f"STAGE.{name}.METHOD", "")
        stage["OBJECTIVE"]["ARGS"] = arguments(f"STAGE.{name}.OBJECTIVE.NAME", "")
    return flatten(tree)


def inherit(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with every empty value that means "as X" replaced by the value of X."""
    tree = copy.deepcopy(tree)
    dataset, task = tree["DATASET"], tree["TASK"]
    for split in ("TRAIN", "VAL", "TEST"):
        dataset[split]["NAME"] = dataset[split]["NAME"] or dataset["NAME"]
    for split in ("TRAIN", "VAL"):
        task[split] = {key: number or task["TEST"].get(key, 0) for key, number in task[split].items()}
    for stage in tree["STAGE"].values():
        if not stage["METHOD"]:
            stage["METHOD"], stage["ARGS"] = tree["METHOD"]["NAME"], copy.deepcopy(tree["METHOD"]["ARGS"])
        if not stage["OBJECTIVE"]["NAME"]:
            stage["OBJECTIVE"] = copy.deepcopy(tree["OBJECTIVE"])
        stage["VAL"] |= {key: stage["VAL"][key] or number for key, number in task["VAL"].items()}
    return tree


def value_of(settings: Settings, key: str, default: Any) -> Any:
    """The value that a key is set to, or the default."""
    return settings[key].value if key in settings else default


def _stage_names(settings: Settings) -> list[str]:
    names = value_of(settings, "STAGES", DEFAULTS["STAGES"])
    source = settings["STAGES"].source if "STAGES" in settings else "default"
    if not isinstance(names, list) or not all(isinstance(n, str) and re.fullmatch(r"\w+", n) for n in names):
        raise UserError(f"{source}: STAGES is {names!r}, but it must be a list of plain words, e.g. [pretrain, meta].")
    return names


def _registered_name(key: str, name: str, classes: Mapping[str, Any], source: str) -> str:
    for known in classes:
        if known.lower() == name.lower():
            return known
    known = ", ".join(sorted(classes))
    raise UserError(f"{source}: {key} is {name!r}, which is not one of: {known}{nearest(name, classes)}.")


def _is_inherited(key: str, name: Any) -> bool:
    return key.startswith("STAGE.") and name == ""


def _as_yaml(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as a YAML can hold them: lists for tuples."""
    return {name: list(default) if isinstance(default, tuple) else default for name, default in arguments.items()}
