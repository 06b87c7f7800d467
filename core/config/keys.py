"""What is known of one key of a configuration: its default, the values it may take, and its roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Role = Literal["trains", "varies", "encodes", "measures", "inherited", "neither"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Key:
    """One key. A change of its value does to a result what its `roles` say (see core/config/defaults.py)."""

    default: Any
    roles: frozenset[Role]
    least: float | None  # smallest value, after inheritance
    below: float | None  # what every value is smaller than
    choices: tuple[str, ...]  # the words it may hold; () = any value
    ranged: bool  # whether a list of two integers, the least and the largest, may stand for the integer


def key(
    default: Any,
    *roles: Role,
    least: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    ranged: bool = False,
) -> Key:
    """The `Key` of one line of defaults.py.

    Raises:
        ValueError: no role, an unknown one, or "neither" beside another.
    """
    unknown = set(roles) - set(ROLES)
    if not roles or unknown or ("neither" in roles and len(roles) > 1):
        raise ValueError(f"roles {roles}: give one or more of {ROLES}, and 'neither' alone")
    return Key(default, frozenset(roles), least, below, choices, ranged)


def default_tree(keys: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of keys as the tree of their defaults."""
    return {name: entry.default if isinstance(entry, Key) else default_tree(entry) for name, entry in keys.items()}
