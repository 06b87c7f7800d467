"""Check settings against the known keys: every unknown key, wrong type and unknown word is reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import UserError
from ..limits import Limit, coerce
from ..names import nearest
from .defaults import find_key
from .provenance import Setting, Settings, is_group
from .schema import value_of


def coerce_all(settings: Settings, known: Mapping[str, Any], limits: Mapping[str, Limit]) -> dict[str, Any]:
    """The value of each setting in the type of its default.

    Args:
        settings: to be checked.
        known: all keys with their defaults, flat.
        limits: what some keys may be.

    Raises:
        UserError: with a sentence for each unknown key, each value of another type and each that a limit forbids.
    """
    values, problems = {}, []
    for key, setting in settings.items():
        if key in known and known[key] != {}:
            try:
                values[key] = list(setting.value) if _is_range(key, setting) else coerce(setting.value, known[key])
            except TypeError as error:
                hint = "; only TASK.TRAIN.SHOT may be a range" if key.endswith(".SHOT") else ""
                problems.append(f"{setting.source}: {key} is {setting.value!r}, which is not {error}{hint}.")
                continue
            refusal = limits[key].refusal(key, values[key]) if key in limits else ""
            if refusal:
                problems.append(f"{setting.source}: {refusal}")
        elif not is_group(key, known):
            problems.append(_unknown(key, setting, settings, known))
        elif setting.value not in ({}, None):
            problems.append(f"{setting.source}: {key} is {setting.value!r}, but it is a group of keys.")
    if problems:
        raise UserError("\n".join(problems))
    return values


def _is_range(key: str, setting: Setting) -> bool:
    """Whether a list stands where an integer may be a range; `check` looks at what is in it."""
    entry = find_key(key)
    return entry is not None and entry.ranged and isinstance(setting.value, list | tuple)


def _unknown(key: str, setting: Setting, settings: Settings, known: Mapping[str, Any]) -> str:
    """The sentence for a key that is not known, with the likely reason."""
    where = f"{setting.source}: "
    stage = re.match(r"STAGE\.([^.]+)", key)
    if stage and not is_group(stage[0], known):
        return f"{where}{key} is set, but STAGES does not list {stage[1]}{_stages(stage[1], known)}."
    argument = re.fullmatch(r"(STAGE\.\w+)\.(OBJECTIVE\.)?(ARGS\..+)", key)
    if argument:
        names = f"{argument[1]}.OBJECTIVE.NAME" if argument[2] else f"{argument[1]}.METHOD"
        if not value_of(settings, names, ""):
            owner = f"{argument[2] or 'METHOD.'}{argument[3]}"
            return f"{where}{key} is set, but {names} is not: set {owner}, or {names} as well."
    return f"{where}unknown key {key}{_nearest_key(key, known)}{_arguments(key, known)}."


def _stages(name: str, known: Mapping[str, Any]) -> str:
    """The nearest stage, and all that there are."""
    stages = list(dict.fromkeys(key.split(".")[1] for key in known if key.startswith("STAGE.")))
    return f"{nearest(name, stages)}; its stages: {', '.join(stages)}" if stages else ""


def _arguments(key: str, known: Mapping[str, Any]) -> str:
    """The arguments that there are, for a key that names another one."""
    group, args, _ = key.rpartition("ARGS.")
    if not args:
        return ""
    names = [k.removeprefix(f"{group}ARGS.") for k in known if k.startswith(f"{group}ARGS.")]
    return f"; {group}ARGS takes {', '.join(names) or 'nothing'}"


def _nearest_key(key: str, known: Mapping[str, Any]) -> str:
    """Closest known key: equal but for case, else with this ending (TASK.TEST.SHOT for SHOT), else by spelling."""
    lower = key.lower()
    likely = [k for k in known if k.lower() == lower] or [k for k in known if k.lower().endswith(f".{lower}")]
    return f" (did you mean {likely[0]}?)" if likely else nearest(key, known)
