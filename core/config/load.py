"""From a YAML file and a command line to a frozen, fully typed configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from .check import check
from .provenance import Settings, changes, has, unflatten
from .read import read_chain, read_overrides
from .schema import Schemas, inherit, spelled, template
from .typed import typed


@dataclass(frozen=True)
class Loaded:
    """A configuration and how it came to be."""

    path: Path
    cfg: CfgNode  # frozen; every inherited value is replaced by the concrete one
    sources: dict[str, str]  # key -> file name or "command line", for the keys that were set
    notes: list[str]  # what the caller should tell the user
    defaults: dict[str, Any]  # flat: what every key would be, had nothing been set
    values: dict[str, Any]  # flat: every key as set, inherited ones still as "" or 0

    @property
    def stem(self) -> str:
        """The file's name without its ending: DN4_N5K1_R12."""
        return self.path.stem

    @property
    def folder(self) -> str:
        """The name of the file's folder: the data set, for the files under configs/."""
        return self.path.resolve().parent.name

    def diff(self) -> str:
        """A table of the keys that differ from their defaults, with the source of each."""
        return f"config  {self.path}\n{changes(self.defaults, self.values, self.sources)}".rstrip()

    def full(self) -> str:
        """Every key as YAML: loading it gives the same configuration, and takes overrides in the same way.

        Inherited values stay inherited, so that METHOD.ARGS.k=3 over a saved file still reaches the stages that train
        METHOD.
        """
        return yaml.safe_dump(unflatten(self.values), sort_keys=False)


def load(path: str | Path, overrides: Sequence[str], schemas: Schemas) -> Loaded:
    """Load a file with its bases, then the command line's `KEY VALUE` and `KEY=VALUE`, over the defaults."""
    files = spelled(read_chain(path), schemas)
    given = files | spelled(read_overrides(overrides), schemas)
    defaults = template(given, schemas)
    moot = _moot(files, template(files, schemas), defaults)
    values = typed({key: setting for key, setting in given.items() if key not in moot}, defaults)
    cfg = CfgNode(inherit(unflatten(defaults | values)))
    check(cfg)
    cfg.freeze()
    return Loaded(
        path=Path(path),
        cfg=cfg,
        sources={key: given[key].source for key in values},
        notes=_notes(moot),
        defaults=defaults,
        values=defaults | values,
    )


def _moot(files: Settings, before: dict[str, Any], after: dict[str, Any]) -> Settings:
    """Settings of the files that the command line's choice of classes and stages leaves without a key."""
    return {key: setting for key, setting in files.items() if has(key, before) and not has(key, after)}


def _notes(moot: Settings) -> list[str]:
    if not moot:
        return []
    dropped = ", ".join(f"{key} = {value!r} ({source})" for key, (value, source) in moot.items())
    return [f"Dropped, as what the command line chose has no such key: {dropped}."]
