"""Schemas of the registered classes, and the loading of a configuration that uses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .config import Loaded, Schemas, load
from .paths import find_config
from .registry import BACKBONES, METHODS, OBJECTIVES, import_all


def schemas() -> Schemas:
    """Every registered class with its arguments and their defaults."""
    for package in ("backbones", "objectives", "methods"):
        import_all(f"{__package__}.{package}")
    kinds = (METHODS, BACKBONES, OBJECTIVES)
    return Schemas(*({name: kind.arguments(name) for name in kind} for kind in kinds))


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read a YAML file, or the one of that name that comes with the project, and the settings of a command line."""
    file, notes = find_config(path)
    loaded = load(file, overrides, schemas)
    loaded.notes.extend(notes)
    return loaded
