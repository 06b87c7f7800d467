"""What a checkpoint knows beside its weights, so that it stands by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from .. import __version__
from ..config import Config, Loaded
from ..config.read import parse, plugins, read_text
from ..config.roles import saved_keys, with_role
from ..engine import checkpoint
from ..engine.environment import commit
from ..engine.selection import best_checkpoint
from ..errors import UserError
from ..methods.base import Method
from .config import load_config
from .data import Data

DESCRIBED = ("train", "val")  # splits whose manifests a checkpoint holds


def self_portrait(data: Data, method: Method, text: str) -> dict[str, Any]:
    """The entries of a checkpoint's `meta` that make it stand by itself.

    `config` is the configuration as YAML, `splits` are the manifests of the base and val classes (names, counts, mean,
    deviation, hashes), `words` the base classes' word vectors where the method reads them, `made_with` commit and
    versions.
    """
    words = {"words": data.words("train").tolist()} if "semantics" in method.needs else {}
    return {
        "config": text,
        "splits": {name: dict(data.split(name).manifest) for name in DESCRIBED},
        "made_with": {"fiveway": __version__, "torch": str(torch.__version__), "commit": commit()},
        **words,
    }


def load_saved(path: Path, overrides: Sequence[str]) -> Loaded:
    """The configuration of a checkpoint, with the settings of a command line over it.

    Raises:
        UserError: where an old checkpoint does not hold it and lies in no run folder, or it names a user's own modules
            that the command line does not name.
    """
    text = config_text(path, checkpoint.load(path)["meta"])
    if not text:
        raise UserError(f"{path} does not hold its configuration, as it is an old one; give --cfg FILE as well.")
    named = plugins(read_text(text, path))
    if named and not any(override.startswith("PLUGINS") for override in overrides):
        raise UserError(
            f"{path} was trained with modules of a user's own, whose import runs them; if you trust them, give "
            f"PLUGINS=[{','.join(named)}] as well."
        )
    return load_config(path, overrides, text)


def load_given_or_saved(cfg_file: str | None, paths: Sequence[Path], overrides: Sequence[str]) -> Loaded:
    """The configuration of `cfg_file`; without one, that of the only checkpoint or run folder in `paths`.

    Raises:
        UserError: without a `cfg_file`, where there is not one path, or as `load_saved`.
    """
    if cfg_file:
        return load_config(cfg_file, overrides)
    if len(paths) != 1:
        raise UserError(
            "--cfg is missing, and only one checkpoint can bring its own config, but --checkpoint (-c) names "
            f"{len(paths)}; give --cfg FILE, or one checkpoint."
        )
    return load_saved(best_checkpoint(paths[0]), overrides)


def config_text(path: Path, meta: dict[str, Any]) -> str:
    """The configuration of a checkpoint as YAML: its own, or that of its run folder; "" where there is none."""
    if "config" in meta:
        return str(meta["config"])
    beside = path.parent / "config.yaml"
    return beside.read_text(encoding="utf-8") if beside.is_file() else ""


def trained_as(cfg: Config, path: Path, meta: dict[str, Any]) -> bool:
    """Whether a checkpoint was trained by the recipe of a configuration; False where its own is not known."""
    try:
        before = saved_keys(parse(config_text(path, meta)), "trains")
    except (AttributeError, TypeError, ValueError, KeyError, OSError, yaml.YAMLError):
        return False
    return before == with_role(cfg, "trains")
