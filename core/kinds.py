"""Whether a value that was read from a file is of the kind that its reader expects.

A kind is one of

    str, bool, int, float, object, None    int: below 2**63; float: finite, also whole; object: anything
    (kind, kind, ...)                      any of these
    [kind]                                 a list of these
    {"name": kind, "name?": kind}          a dict with these entries, one with ? perhaps; further entries are left alone
    {"": kind}                             a dict of these, under any keys of text
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

LARGEST = 1 << 63
ALL = "the whole"


def parse_json(text: str | bytes, kind: Any = object) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: where it is no JSON, is nested too deeply, or is of another kind.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    place = misfit(value, kind)
    if place:
        raise ValueError(f"{place} is missing, or not what is written there")
    return value


def misfit(value: Any, kind: Any, place: str = "") -> str:
    """The place of the first value that is not of its kind, such as `network.mean.2`; "" where all are."""
    if isinstance(kind, tuple):
        return "" if any(not misfit(value, each) for each in kind) else place or ALL
    if not isinstance(kind, list | Mapping):
        return "" if _is(value, kind) else place or ALL
    if not isinstance(value, list if isinstance(kind, list) else dict):
        return place or ALL
    inner = (misfit(part, each, f"{place}.{name}".lstrip(".")) for name, part, each in _parts(value, kind))
    return next(filter(None, inner), "")


def _parts(value: Any, kind: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Name, value and kind of each part of a list or dict; an entry that must be there, and is not, is of no kind."""
    if isinstance(kind, list):
        yield from ((number, item, kind[0]) for number, item in enumerate(value))
    elif "" in kind:
        yield from ((name, item, kind[""] if isinstance(name, str) else ()) for name, item in value.items())
    else:
        for name, each in kind.items():
            plain = name.removesuffix("?")
            if plain in value or plain == name:
                yield plain, value.get(plain), each if plain in value else ()


def _is(value: Any, kind: Any) -> bool:
    """Whether a single value is of a kind; True and False are no numbers here."""
    if kind is object:
        return True
    if kind is None:
        return value is None
    if kind is float:
        return _is(value, int) or (isinstance(value, float) and math.isfinite(value))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
    if kind is str:
        return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return isinstance(value, kind)
