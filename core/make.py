"""Configurations by file name, checked against every registered class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .config import Config, Loaded, Schemas, load, plugins
from .config.defaults import DEFAULTS
from .config.provenance import COMMAND_LINE
from .data.augment import at_size
from .data.datasets import benchmark
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

    Its REFERENCE is left out where the command line changes what is measured, and `crop` in an AUGMENT gets the number
    that belongs to the size of the images.
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
    _number_crops(loaded.cfg)
    return loaded


def image_size(cfg: Config) -> int:
    """The side of the images in pixels; 0 where the data set holds features."""
    return cfg.DATASET.SIZE or benchmark(cfg.DATASET.TRAIN.NAME, "DATASET.TRAIN.NAME").native_size


def _number_crops(cfg: Config) -> None:
    """Replace every `crop` of a stage's AUGMENT by `crop-4`, or what the size of the images asks for."""
    stages = [node for node in cfg.STAGE.values() if "crop" in node.AUGMENT]
    cfg.defrost()
    for node in stages:
        node.AUGMENT = at_size(node.AUGMENT, image_size(cfg))
    cfg.freeze()
