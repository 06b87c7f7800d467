"""Which of the checkpoints that a shell's glob names belong to a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.engine import checkpoint
from core.errors import UserError


@dataclass(frozen=True)
class Selection:
    """Checkpoints to evaluate, and the others with the reason each was left out."""

    chosen: list[Path]
    skipped: list[tuple[Path, str]]


def select(paths: Sequence[Path], stem: str, dataset: str) -> Selection:
    """One file alone is taken as it is; of several, the best of each run of this config.

    Args:
        paths: checkpoint files.
        stem: name of the config's YAML file without its ending.
        dataset: name of the config's training data.

    Raises:
        UserError: where none of several files belongs to the config.
    """
    if len(paths) == 1:
        return Selection(list(paths), [])
    reasons = [(path, _reason(path, stem, dataset)) for path in paths]
    chosen = [path for path, reason in reasons if reason is None]
    skipped = [(path, reason) for path, reason in reasons if reason is not None]
    if not chosen:
        listed = "; ".join(f"{path}: {reason}" for path, reason in skipped)
        raise UserError(
            f"-c names {len(paths)} files, of which none is the best checkpoint of a {stem} run ({listed})."
        )
    return Selection(chosen, skipped)


def _reason(path: Path, stem: str, dataset: str) -> str | None:
    """Why a file is left out, or None."""
    try:
        meta: dict[str, Any] = checkpoint.load(path)["meta"]
    except UserError as error:
        return str(error)
    if not meta["final"]:
        return "an earlier stage of a run"
    if meta["stem"] != stem or meta["dataset"] != dataset:
        return f"of config {meta['dataset']}/{meta['stem']}"
    return None if path.name.startswith("ebest_") else "not the best checkpoint of its run"
