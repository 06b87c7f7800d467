"""Which of the checkpoints that a shell's glob names belong to a config."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..registry import BACKBONES, METHODS, Registry
from . import checkpoint


@dataclass(frozen=True)
class Selection:
    """Checkpoints to evaluate, and the others with the reason each was left out."""

    chosen: list[Path]
    skipped: list[tuple[Path, str]]


def select(paths: Sequence[Path], config: Path, asked: dict[str, Any]) -> Selection:
    """One file alone is taken as it is; of several, the best of each run of this config.

    Args:
        paths: checkpoint files.
        config: the YAML file. Its runs bear its name; the config.yaml in a run's folder stands for that run.
        asked: what a checkpoint of this config says about itself.

    Raises:
        UserError: where a path is no file, or none of several files belongs to the config.
    """
    for path in paths:
        checkpoint.refuse_missing(path)
    if len(paths) == 1:
        return Selection(list(paths), [])
    reasons = [(path, _reason(path, config, asked)) for path in paths]
    chosen = [path for path, reason in reasons if reason is None]
    skipped = [(path, reason) for path, reason in reasons if reason is not None]
    if not chosen:
        listed = "; ".join(f"{path}: {reason}" for path, reason in skipped)
        raise UserError(
            f"-c names {len(paths)} files, of which none is the best checkpoint of a run of {config} ({listed}); "
            "give the config they were trained with, or one file alone."
        )
    return Selection(chosen, skipped)


def _reason(path: Path, config: Path, asked: dict[str, Any]) -> str | None:
    """Why a file is left out, or None."""
    try:
        meta: dict[str, Any] = checkpoint.load(path)["meta"]
    except UserError as error:
        return str(error)
    if not meta["final"]:
        return "an earlier stage of a run"
    saved_beside = config.name == "config.yaml" and config.resolve().parent == path.resolve().parent
    if not saved_beside and (meta["stem"], meta["dataset"]) != (config.stem, asked["dataset"]):
        return f"of config {meta['dataset']}/{meta['stem']}"
    if not path.name.startswith("ebest_"):
        return "not the best checkpoint of its run"
    return _other_network(asked, meta)


def refuse_other_network(asked: dict[str, Any], held: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint whose method or backbone arguments differ, though its tensors fit."""
    difference = _other_network(asked, held)
    if difference:
        raise UserError(f"{path} was {difference}; use the config it was trained with, or override these keys.")


def changed_at_test(asked: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """The arguments that may be others at test (`Method.test_arguments`) and are, with the values asked for."""
    trained, wanted = _completed(held["method"], METHODS), asked["method"]
    names = METHODS[wanted["NAME"]].test_arguments if trained["NAME"] == wanted["NAME"] else ()
    return {name: wanted["ARGS"][name] for name in names if trained["ARGS"].get(name) != wanted["ARGS"][name]}


def _other_network(asked: dict[str, Any], held: dict[str, Any]) -> str | None:
    """How the method or the backbone of a checkpoint differs from that of the config, or None."""
    for part, registry in (("method", METHODS), ("backbone", BACKBONES)):
        trained = _completed(held[part], registry)
        if part == "method":
            trained = trained | {"ARGS": trained["ARGS"] | changed_at_test(asked, held)}
        if asked[part] != trained:
            trained, wanted = json.dumps(held[part]), json.dumps(asked[part])
            return f"trained with {part.upper()} {trained}, but the config asks for {wanted}"
    return None


def _completed(held: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """A checkpoint's entry with the arguments that its class has learned since, at their defaults."""
    defaults = registry.arguments(held["NAME"]) if held["NAME"] in registry else {}
    since = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    return held | {"ARGS": since | held["ARGS"]}
