"""Settings with the place where each was written.

A tree of keys is kept flat, as {"METHOD.ARGS.k": 3}. Merging is then `base | over`: dicts merge, everything else
replaces, and a setting keeps its source. A YAML may use either form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UserError

COMMAND_LINE = "command line"


class Setting(NamedTuple):
    """The value of a key and where it was set: a file's name or "command line"."""

    value: Any
    source: str


Settings = dict[str, Setting]


def flatten(tree: Mapping, prefix: str = "") -> dict[str, Any]:
    """{"A": {"b": 1}} to {"A.b": 1}; an empty dict stays, as the value of its key."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        part = flatten(value, f"{key}.") if isinstance(value, Mapping) and value else {key: value}
        twice = sorted(part.keys() & flat.keys())
        if twice:
            raise UserError(f"{twice[0]} is given twice, with dots and in a group; remove one of them.")
        flat |= part
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, name = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def settings(tree: Mapping, source: str) -> Settings:
    """The settings of one source."""
    try:
        return {key: Setting(value, source) for key, value in flatten(tree).items()}
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def is_group(key: str, known: Mapping[str, Any]) -> bool:
    """Whether a key holds other keys rather than a value."""
    return known.get(key) == {} or any(name.startswith(f"{key}.") for name in known)


def has(key: str, known: Mapping[str, Any]) -> bool:
    """Whether a key exists, as a value or as a group."""
    return key in known or is_group(key, known)


def changes(old: Mapping[str, Any], new: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """A line `KEY old -> new source` for each key whose new value is not the old one, in columns."""
    rows = [(k, _display(old[k]), _display(new[k]), sources[k]) for k in new if k in sources and old[k] != new[k]]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    return "\n".join(
        f"  {key:{widths[0]}}  {was:{widths[1]}} -> {now:{widths[2]}}  {source}" for key, was, now, source in rows
    )


def _display(value: Any) -> str:
    return value if isinstance(value, str) and value else repr(value)
