"""Schemas of the registered classes, and the loading of a configuration that uses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import Config, Loaded, Schemas, load
from ..data.augment import at_size
from ..data.datasets import dataset
from ..paths import find_config
from ..registry import BACKBONES, METHODS, OBJECTIVES, Arguments, Registry, import_all


def schemas() -> Schemas:
    """Every registered class with its arguments and their defaults."""
    for package in ("backbones", "objectives", "methods"):
        import_all(f"{__package__.removesuffix('.build')}.{package}")
    return Schemas(*map(RegisteredArguments, (METHODS, BACKBONES, OBJECTIVES)))


class RegisteredArguments(Mapping[str, Arguments]):
    """The arguments of each class of a registry; a member of a family is there when it is asked for."""

    def __init__(self, registry: Registry[Any]) -> None:
        self._registry = registry

    def __getitem__(self, name: str) -> Arguments:
        return self._registry.arguments(name)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._registry, *self._registry.families])

    def __len__(self) -> int:
        return len(list(iter(self)))


def load_config(path: str | Path, overrides: Sequence[str] = (), text: str | None = None) -> Loaded:
    """Read a YAML file, or the one of that name that comes with the project, and the settings of a command line.

    `text` is YAML in place of a file's; the path is then a name for it.
    `crop` in an AUGMENT gets the number that belongs to the size of the images.
    """
    file, notes = find_config(path) if text is None else (Path(path), [])
    loaded = load(file, overrides, schemas, text)
    loaded.notes.extend(notes)
    _number_crops(loaded)
    return loaded


def differing_keys(loaded: Loaded, saved: Path) -> list[str]:
    """Keys in which a configuration differs from one that a run has saved.

    A key that an older version did not save counts as its default, and a former name as the present one.
    """
    before, now = load_config(saved).values, loaded.values
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def last_stage(cfg: Config) -> str:
    """The name of the stage that trains METHOD; "" where nothing is trained."""
    return cfg.STAGES[-1] if cfg.STAGES else ""


def stage_node(cfg: Config, stage: str) -> Config:
    """The node of a stage; of no stage, what METHOD and OBJECTIVE say."""
    if stage:
        return cfg.STAGE[stage]
    return Config(
        {"METHOD": cfg.METHOD.NAME, "ARGS": cfg.METHOD.ARGS, "OBJECTIVE": cfg.OBJECTIVE, "STREAM": "episodes"}
    )


def image_size(cfg: Config) -> int:
    """The side of the images in pixels; 0 where the data set holds features."""
    return cfg.DATASET.SIZE or dataset(cfg.DATASET.TRAIN.NAME, "DATASET.TRAIN.NAME").native_size


def _number_crops(loaded: Loaded) -> None:
    """Replace every `crop` of a stage's AUGMENT by `crop-4`, or what the size of the images asks for."""
    cfg = loaded.cfg
    stages = {name: node for name, node in cfg.STAGE.items() if "crop" in node.AUGMENT}
    cfg.defrost()
    for name, node in stages.items():
        node.AUGMENT = loaded.values[f"STAGE.{name}.AUGMENT"] = at_size(node.AUGMENT, image_size(cfg))
    cfg.freeze()
