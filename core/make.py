"""Configurations by file name, checked against every registered class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .config import Loaded, Schemas, load, plugins
from .config.defaults import DEFAULTS
from .config.provenance import COMMAND_LINE
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
