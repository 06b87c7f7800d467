"""Read what the user wrote: a YAML file with its `_BASE_` files, and the overrides of a command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..files import read_regular
from ..names import nearest
from ..paths import CONFIGS
from .provenance import COMMAND_LINE, Settings, settings

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times as fast
NO_CONFIGS = ("_base_", "suites")  # folders of configs/ that hold no config
LISTED = 8  # file names in a message
LONGEST = 1 << 20  # characters of a file
MOST = 100_000  # values of a file, with every alias written out
DEEPEST = 50  # levels of a file
LONGEST_CHAIN = 50  # files of which each is the _BASE_ of the next


def read_chain(
    path: str | Path,
    source: str = "",
    below: tuple[Path, ...] = (),
    known: dict[tuple[Path, str], Settings] | None = None,
) -> Settings:
    """The settings of a file and of its `_BASE_` files: a later base wins over an earlier one, the file over all.

    Args:
        path: YAML file.
        source: name of the file in messages.
        below: the files whose `_BASE_` led to this one.
        known: chains that were read already, so that a file which many name is read once.

    Raises:
        UserError: a file that cannot be read, is no mapping, or is its own base.
    """
    path = _resolved(Path(path))
    if path in below:
        chain = " -> ".join(p.name for p in (*below[below.index(path) :], path))
        raise UserError(f"{path}: _BASE_ leads back to the file itself ({chain}); remove one of these links.")
    if len(below) >= LONGEST_CHAIN:
        raise UserError(f"{below[0]}: _BASE_ leads through more than {LONGEST_CHAIN} files; shorten the chain.")
    known = {} if known is None else known
    if (path, source) in known:
        return known[path, source]
    tree = _read_file(path, below[-1] if below else None)
    merged: Settings = {}
    for base in _bases(tree.pop("_BASE_", []), path):
        name = f"{base.parent.name}/{base.name}"
        merged |= read_chain(base, name, (*below, path), known)
    known[path, source] = merged | settings(tree, source or path.name)
    return known[path, source]


def read_text(text: str, path: Path) -> Settings:
    """The settings of a YAML text without `_BASE_`, which `path` names in messages."""
    return settings(_tree(text, path), path.name)


def read_overrides(arguments: Sequence[str]) -> Settings:
    """The settings of a command line: `KEY VALUE` and `KEY=VALUE`, mixed; a value is read as YAML."""
    merged: Settings = {}
    rest = iter(arguments)
    for argument in rest:
        key, equals, value = argument.partition("=")
        text = value if equals else next(rest, None)
        if text is None:
            raise UserError(f"{key} on the command line has no value; write {key} VALUE or {key}=VALUE.")
        merged |= settings({key: _read_value(key, text)}, COMMAND_LINE)
    return merged


def plugins(merged: Settings) -> list[str]:
    """The modules that PLUGINS names; the classes they register decide which keys there are."""
    setting = merged.get("PLUGINS")
    if setting is None:
        return []
    if not isinstance(setting.value, list):
        raise UserError(f"{setting.source}: PLUGINS is {setting.value!r}, which is not a list, e.g. [my_method].")
    return [str(name) for name in setting.value]


class Refused(yaml.YAMLError):
    """A text that would become too much, or no plain values; `problem` says why."""

    def __init__(self, problem: str, problem_mark: yaml.Mark | None = None) -> None:
        super().__init__(problem)
        self.problem, self.problem_mark = problem, problem_mark


class Unambiguous(LOADER):  # type: ignore[misc, valid-type]  # one of two classes
    """Refuses a key that is given twice, of which YAML would take the last, and numbers that are not what they look."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        names: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in names:
                raise Refused(f"the key {key.value} is given twice", key.start_mark)
            names.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """The number of a node; not 010, which is 8 to YAML, and not 1:30, which is 90."""
        if re.fullmatch(r"[-+]?0[0-7_]+|.*:.*", node.value):
            raise Refused(f"YAML reads {node.value} to the base of 8 or 60; write it as it is meant", node.start_mark)
        integer = node.tag.endswith(":int")
        number: int | float = self.construct_yaml_int(node) if integer else self.construct_yaml_float(node)
        return number


for _kind in ("int", "float"):
    Unambiguous.add_constructor(f"tag:yaml.org,2002:{_kind}", Unambiguous.construct_number)


def parse(text: str) -> Any:
    """The plain values of a YAML text; no Python objects.

    Raises:
        yaml.YAMLError: where it is not YAML, gives a key twice, or is too long, too deep, or too much with its aliases
            written out.
    """
    _refuse_bombs(text)
    try:
        return yaml.load(text, Loader=Unambiguous)
    except (ValueError, OverflowError) as error:  # 2001-13-99, or an integer of 10,000 digits
        raise Refused(str(error).partition(";")[0]) from error
    except (LookupError, TypeError, AttributeError) as error:  # !!bool maybe
        raise Refused("a tag (!!) does not fit what follows it") from error


def _refuse_bombs(text: str) -> None:
    """Refuse what small texts can grow into. Events are read one by one, so that no depth can break the reader."""
    if len(text) > LONGEST:
        raise Refused(f"it is longer than {LONGEST} characters")
    sizes: dict[str, int] = {}  # of what an anchor names, with its aliases written out
    open_nodes: list[tuple[str | None, int]] = []  # anchor of each node around this place, and values before it
    values = 0
    for event in yaml.parse(text, Loader=LOADER):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if anchor in (name for name, _ in open_nodes):
                raise Refused(f"*{anchor} stands inside of &{anchor}")
            values += sizes.get(str(anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            sizes |= {anchor: 1} if anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            name, before = open_nodes.pop()
            sizes |= {name: values - before} if name else {}
        if len(open_nodes) > DEEPEST:
            raise Refused(f"it is nested more than {DEEPEST} levels deep")
        if values > MOST:
            raise Refused(f"it holds more than {MOST} values")


def _read_file(path: Path, wanted_by: Path | None) -> dict[str, Any]:
    try:
        text = read_regular(path).decode("utf-8")
    except OSError as error:
        by = f", which is a _BASE_ of {wanted_by}," if wanted_by else ""
        there = f"; {_what_exists(path)}" if isinstance(error, FileNotFoundError) else ""
        raise UserError(f"{path}{by} cannot be read: {error.strerror}{there}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}{_line(error)}: not valid YAML: {_reason(error)}.") from error
    return _tree(text, path)


def _tree(text: str, path: Path) -> dict[str, Any]:
    """The mapping that a text holds; `path` names it in messages."""
    try:
        tree = parse(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}{_line(error)}: not valid YAML: {_reason(error)}.") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: the file holds {tree!r:.40}, but it must be a mapping of keys to values.")
    return tree


def _what_exists(path: Path) -> str:
    """The YAML files that a mistyped path may mean: those beside it, else those of the project, else its folders."""
    for folder in (path.parent, CONFIGS / path.parent.name):
        names = sorted(file.name for file in folder.glob("*.yaml"))
        if names:
            close = difflib.get_close_matches(path.name, names, n=LISTED, cutoff=0.3) or names[:LISTED]
            more = f" and {len(names) - len(close)} more" if len(names) > len(close) else ""
            return f"{folder} holds {', '.join(close)}{more}{nearest(path.name, names)}"
    folders = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir() and folder.name not in NO_CONFIGS)
    return f"the folders of {CONFIGS} are {', '.join(folders)}{nearest(path.parent.name, folders)}"


def _bases(value: Any, path: Path) -> list[Path]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: _BASE_ is {value!r}, but it must be a file name or a list of file names.")
    return [_resolved(path.parent / name) for name in names]


def _resolved(path: Path) -> Path:
    """The path without links.

    Raises:
        UserError: where there can be no such file.
    """
    try:
        return path.resolve()
    except (ValueError, RuntimeError, OSError) as error:  # a byte 0 in its name, or a link that leads back to itself
        raise UserError(f"{str(path)!r} is no file ({error}); give the path of a YAML.") from error


def _read_value(key: str, text: str) -> Any:
    if not text:
        return ""  # YAML would read None, which no key means
    try:
        return parse(text)
    except yaml.YAMLError as error:
        raise UserError(f"{key} on the command line is {text!r}, which is not valid YAML: {_reason(error)}.") from error


def _line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _reason(error: Exception) -> str:
    return getattr(error, "problem", None) or getattr(error, "reason", None) or "unknown reason"
