"""Configurations by file name, checked against every registered class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .config import Loaded, Schemas, load, plugins
from .config.defaults import DEFAULTS
from .config.provenance import COMMAND_LINE
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
    """Read a YAML file, after importing the modules its PLUGINS name.

    Its REFERENCE is left out where the command line changes what is measured.
    """
    import_plugins(plugins(path, overrides))
    loaded = load(path, overrides, schemas())
    given = [key for key, source in loaded.sources.items() if source == COMMAND_LINE]
    if all(key.startswith(MEASURES_THE_SAME) for key in given) or any(key.startswith("REFERENCE.") for key in given):
        return loaded
    return load(path, [*overrides, *NO_REFERENCE], schemas())
