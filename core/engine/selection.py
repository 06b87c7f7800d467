"""Which of the checkpoints that a shell's glob names belong to a config."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..registry import BACKBONES, METHODS, Registry
from . import checkpoint

FEW = 5  # skipped files that are listed one by one
# How reasons for skipping begin, and how a summary counts them; any other file is one that cannot be read.
KINDS = {
    "an earlier stage": "of an earlier stage",
    "not the best": "not the best checkpoint of its run",
    "of config": "of another config",
    "trained with": "of another network",
    "holds no best": "without a best checkpoint",
}


@dataclass(frozen=True)
class Selection:
    """Checkpoints to evaluate, and the others with the reason each was left out."""

    chosen: list[Path]
    skipped: list[tuple[Path, str]]

    def lines(self) -> list[str]:
        """What the log says of the skipped ones: a line each where they are few, else how many for which reason."""
        if len(self.skipped) <= FEW:
            return [f"skipped  {path}: {reason}" for path, reason in self.skipped]
        kinds = [next((KINDS[k] for k in KINDS if reason.startswith(k)), "unreadable") for _, reason in self.skipped]
        counts = ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).most_common())
        return [f"skipped  {len(self.skipped)} of {len(self.skipped) + len(self.chosen)} files: {counts}"]


def best_checkpoint(path: Path) -> Path:
    """The file that `--checkpoint` means: of a run folder, its best checkpoint.

    Raises:
        UserError: where a run folder has none, or several.
    """
    if not path.is_dir():
        return path
    best = sorted(path.glob("ebest_*.pth"))
    if not best:
        raise UserError(
            f"{path} holds no best checkpoint (ebest_*.pth): give --checkpoint (-c) a run that was trained."
        )
    if len(best) > 1:
        raise UserError(f"{path} holds several checkpoints: give --checkpoint (-c) one of {', '.join(map(str, best))}.")
    return best[0]


def select(paths: Sequence[Path], config: Path, wanted: dict[str, Any]) -> Selection:
    """One path alone is taken as it is; of several, the best of each run of this config.

    Args:
        paths: checkpoint files, or run folders, which stand for their best checkpoint.
        config: the YAML file. Its runs bear its name; the config.yaml in a run's folder stands for that run.
        wanted: what a checkpoint of this config says about itself.

    Raises:
        UserError: where a path is no file, or none of several files belongs to the config.
    """
    if len(paths) == 1:
        file = best_checkpoint(paths[0])
        checkpoint.refuse_missing(file)
        return Selection([file], [])
    for path in paths:
        if not path.is_dir():
            checkpoint.refuse_missing(path)
    reasons = [(path, _reason(path, config, wanted)) for path in paths]
    chosen = list(dict.fromkeys(best_checkpoint(path) for path, reason in reasons if reason is None))
    skipped = [(path, reason) for path, reason in reasons if reason is not None]
    if not chosen:
        listed = "; ".join(f"{path}: {reason}" for path, reason in skipped)
        raise UserError(
            f"--checkpoint (-c) names {len(paths)} files, of which none is the best checkpoint of a run of {config} "
            f"({listed}); give the config they were trained with, or one file alone."
        )
    return Selection(chosen, skipped)


def _reason(path: Path, config: Path, wanted: dict[str, Any]) -> str | None:
    """Why a file or a run folder is left out, or None."""
    try:
        path = best_checkpoint(path)
    except UserError as error:
        return str(error).removeprefix(f"{path} ")
    try:
        meta: dict[str, Any] = checkpoint.load(path)["meta"]
        checkpoint.refuse_unnamed(meta, path)
    except UserError as error:
        return str(error)
    if not meta["final"]:
        return "an earlier stage of a run"
    saved_beside = config.name == "config.yaml" and config.resolve().parent == path.resolve().parent
    if not saved_beside and (meta.get("stem"), meta["dataset"]) != (config.stem, wanted["dataset"]):
        return f"of config {meta['dataset']}/{meta.get('stem', '(unknown)')}"
    if not path.name.startswith("ebest_"):
        return "not the best checkpoint of its run"
    return _difference(wanted, meta)


def refuse_different_network(wanted: dict[str, Any], trained: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint whose method or backbone, or an argument of them, differs, though its tensors may fit."""
    checkpoint.refuse_unnamed(trained, path)
    names = trained["method"]["NAME"], wanted["method"]["NAME"]
    if names[0] != names[1]:
        raise UserError(
            f"{path} is a checkpoint of {names[0]}, but the config says {names[1]}: give --cfg the config it was "
            "trained with."
        )
    difference = _difference(wanted, trained)
    if difference:
        raise UserError(f"{path} was {difference}; use the config it was trained with, or override these keys.")


def changed_arguments(wanted: dict[str, Any], trained: dict[str, Any]) -> dict[str, Any]:
    """Test-time arguments (`Method.test_arguments`) whose value differs from the checkpoint's, with the new values."""
    before, now = _completed(trained["method"], METHODS), wanted["method"]
    names = METHODS[now["NAME"]].test_arguments if before["NAME"] == now["NAME"] else ()
    return {name: now["ARGS"][name] for name in names if before["ARGS"].get(name) != now["ARGS"][name]}


def _difference(wanted: dict[str, Any], trained: dict[str, Any]) -> str | None:
    """How the method or the backbone of a checkpoint differs from that of the config, or None."""
    for part, registry in (("method", METHODS), ("backbone", BACKBONES)):
        before = _completed(trained[part], registry)
        if part == "method":
            before = before | {"ARGS": before["ARGS"] | changed_arguments(wanted, trained)}
        if wanted[part] != before:
            texts = json.dumps(trained[part]), json.dumps(wanted[part])
            return f"trained with {part.upper()} {texts[0]}, but the config asks for {texts[1]}"
    return None


def _completed(entry: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """A checkpoint's entry in present terms."""
    return entry | {"ARGS": registry.completed(entry["NAME"], entry["ARGS"])}
