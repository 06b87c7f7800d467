"""Which keys a configuration has, given the classes and stages it names."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from ..limits import Limit
from ..names import not_one_of
from ..plugins import described
from ..registry import MEMBER, Arguments, variable_of
from .defaults import DEFAULTS, STAGE
from .provenance import Setting, Settings, flatten

Classes = Mapping[str, Arguments]  # registered name -> arguments


@dataclass(frozen=True)
class Schemas:
    """Every class a configuration may name, with its arguments."""

    methods: Classes
    backbones: Classes
    objectives: Classes

    def named_by(self, key: str) -> Classes | None:
        """The classes that the value of this key may name; None where the value is no class name."""
        kinds = {
            r"METHOD\.NAME|STAGE\.\w+\.METHOD": self.methods,
            r"BACKBONE\.NAME": self.backbones,
            r"(STAGE\.\w+\.)?OBJECTIVE\.NAME": self.objectives,
        }
        return next((classes for pattern, classes in kinds.items() if re.fullmatch(pattern, key)), None)


def canonical_names(settings: Settings, schemas: Schemas, plugins: Sequence[str] = ()) -> Settings:
    """The settings with every class name spelled as it was registered; `plugins` are the modules that PLUGINS names.

    Raises:
        UserError: a name that no class has.
    """
    renamed = dict(settings)
    for key, (value, source) in settings.items():
        classes = schemas.named_by(key)
        if classes is not None and not _is_inherited(key, value):
            renamed[key] = Setting(_registered_name(key, str(value), classes, source, plugins), source)
    return renamed


def template(settings: Settings, schemas: Schemas) -> dict[str, Any]:
    """Every key that a configuration with these settings has, flat, with its default; class names are canonical."""
    tree = copy.deepcopy(DEFAULTS)
    for name in _stage_names(settings):
        tree["STAGE"][name] = copy.deepcopy(STAGE)
    for key, arguments in _arguments(settings, schemas).items():
        *groups, last = key.split(".")
        node = tree
        for group in groups:
            node = node[group]
        node[last] = _as_yaml(arguments.defaults)
    return flatten(tree)


def limits(settings: Settings, schemas: Schemas) -> dict[str, Limit]:
    """What a key of `template` may be, for each argument that has a limit."""
    groups = _arguments(settings, schemas).items()
    return {f"{key}.{name}": limit for key, arguments in groups for name, limit in arguments.limits.items()}


def present_names(part: Settings, settings: Settings, schemas: Schemas) -> tuple[Settings, list[str]]:
    """Replace the former names of arguments in a part of the settings; returns a note for each as well.

    `settings` are all of them, which name the classes.

    Raises:
        UserError: an argument that is set under both names.
    """
    renamed, notes = dict(part), []
    for key, arguments in _arguments(settings, schemas).items():
        for former, present in arguments.renamed.items():
            old, new = f"{key}.{former}", f"{key}.{present}"
            if old not in part:
                continue
            source = part[old].source
            if new in part:
                raise UserError(f"{source}: {old} is the former name of {new}, which is set too; remove it.")
            renamed[new] = renamed.pop(old)
            notes.append(f"{old} ({source}) is now called {new}.")
    return renamed, notes


def _arguments(settings: Settings, schemas: Schemas) -> dict[str, Arguments]:
    """The arguments of the class that each ARGS belongs to, by the key of the ARGS."""
    keys = {
        f"{group}.ARGS": (f"{group}.NAME", DEFAULTS[group]["NAME"]) for group in ("BACKBONE", "METHOD", "OBJECTIVE")
    }
    for stage in _stage_names(settings):
        keys[f"STAGE.{stage}.ARGS"] = (f"STAGE.{stage}.METHOD", "")
        keys[f"STAGE.{stage}.OBJECTIVE.ARGS"] = (f"STAGE.{stage}.OBJECTIVE.NAME", "")
    named = {key: (name_key, value_of(settings, name_key, default)) for key, (name_key, default) in keys.items()}
    return {key: _class_arguments(name_key, name, schemas) for key, (name_key, name) in named.items()}


def _class_arguments(key: str, name: str, schemas: Schemas) -> Arguments:
    """The arguments of the class that a key names; none where it names none."""
    classes = schemas.named_by(key)
    return classes[_registered_name(key, name, classes, "default")] if name and classes else Arguments({})


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


def _registered_name(key: str, name: str, classes: Mapping[str, Any], source: str, plugins: Sequence[str] = ()) -> str:
    prefix, colon, member = name.lower().partition(":")
    for known in classes:
        if known.lower() == name.lower():
            return known
        if colon and known == f"{prefix}:{MEMBER}":
            return f"{prefix}:{member}"
    sentence = f"{source}: {not_one_of(key, name, sorted(classes))}"
    if plugins:  # one without its decorator, or another module of that name, explains it
        advice = f'a class there needs @{variable_of(key)}.register("{name}")'
        sentence = f"{sentence.removesuffix('.')}; PLUGINS imported {described(plugins)}; {advice}."
    raise UserError(sentence)


def _is_inherited(key: str, name: Any) -> bool:
    return key.startswith("STAGE.") and name == ""


def _as_yaml(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults as a YAML can hold them: lists for tuples."""
    return {name: list(default) if isinstance(default, tuple) else default for name, default in defaults.items()}
