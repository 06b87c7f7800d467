"""From a YAML file and a command line to a frozen, fully typed configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from ..plugins import import_plugins
from .check import check
from .provenance import COMMAND_LINE, Settings, changes, has, unflatten
from .read import plugins, read_chain, read_overrides, read_text
from .roles import reference_applies
from .schema import Schemas, canonical_names, inherit, limits, present_names, template
from .typed import coerce_all


@dataclass(frozen=True)
class Loaded:
    """A configuration, with where each of its values comes from."""

    path: Path
    cfg: CfgNode  # frozen; every inherited value is replaced by the concrete one
    sources: dict[str, str]  # key -> file name or "command line", for the keys that were set
    notes: list[str]  # lines for the user
    defaults: dict[str, Any]  # flat: what every key would be, had nothing been set
    values: dict[str, Any]  # flat: every key as it was set; a value that is inherited is still "" or 0

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
        """Every key as YAML. Loading it gives the same configuration, and overrides act on it in the same way.

        Inherited values are left empty, so that METHOD.ARGS.k=3 over a saved file reaches the stages that train METHOD.
        """
        return yaml.safe_dump(unflatten(self.values), sort_keys=False)


def load(path: str | Path, overrides: Sequence[str], schemas: Callable[[], Schemas], text: str | None = None) -> Loaded:
    """Load a file with its bases, and the `KEY VALUE` and `KEY=VALUE` of a command line over it.

    The file's REFERENCE is left out where the command line changes what is trained or measured.

    Args:
        path: YAML file.
        overrides: of the command line.
        schemas: called after the modules in PLUGINS are imported, as these may register classes.
        text: YAML in place of the file's, which has no `_BASE_`; the path is then a name for it.

    Raises:
        UserError: with a sentence for each problem.
    """
    files = read_chain(path) if text is None else read_text(text, Path(path))
    commands = read_overrides(overrides)
    modules = plugins(files | commands)
    import_plugins(modules)
    known = schemas()
    files, commands = canonical_names(files, known, modules), canonical_names(commands, known, modules)
    files, notes = present_names(files, files, known)
    commands, more_notes = present_names(commands, files | commands, known)
    settings = files | commands
    defaults = template(settings, known)
    inapplicable = _inapplicable(files, template(files, known), defaults)
    applicable = {key: setting for key, setting in settings.items() if key not in inapplicable}
    values = coerce_all(applicable, defaults, limits(settings, known))
    cfg = _resolved(defaults | values)
    check(cfg)
    if not reference_applies(key for key in values if settings[key].source == COMMAND_LINE):
        values = {key: value for key, value in values.items() if not key.startswith("REFERENCE.")}
        cfg = _resolved(defaults | values)
    cfg.freeze()
    return Loaded(
        path=Path(path),
        cfg=cfg,
        sources={key: settings[key].source for key in values},
        notes=[*notes, *more_notes, *_notes(inapplicable)],
        defaults=defaults,
        values=defaults | values,
    )


def _resolved(flat: dict[str, Any]) -> CfgNode:
    """The configuration with every inherited value written out."""
    return CfgNode(inherit(unflatten(flat)))


def _inapplicable(files: Settings, before: dict[str, Any], after: dict[str, Any]) -> Settings:
    """The files' settings of arguments and stages that are gone since the command line chose other classes or stages.

    `before` and `after` are all keys without and with the command line.
    """
    return {key: setting for key, setting in files.items() if has(key, before) and not has(key, after)}


def _notes(inapplicable: Settings) -> list[str]:
    if not inapplicable:
        return []
    dropped = ", ".join(f"{key} = {value!r} ({source})" for key, (value, source) in inapplicable.items())
    return [f"Dropped, as what the command line chose has no such key: {dropped}."]
