"""What an argument of a class may be, said by its type: `metric: Literal["squared", "cosine"]`, `steps: Count`.

A registry reads the limits off the types. A configuration is checked against them as soon as it is read, and the
constructor of a registered class checks them again. A value also takes the type of the argument's default: `coerce`.
"""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin

from .names import not_one_of

KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "text", list: "a list"}
PLAIN = (bool, int, float, str, list, type(None))  # what a node of yacs can hold
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")

WORDS = {">": "above", ">=": "at least", "<": "below", "<=": "at most"}
COMPARED = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


class Limit(Protocol):
    """A rule on the value of one argument."""

    def __str__(self) -> str:
        """The values that it allows."""

    def refusal(self, key: str, value: Any) -> str:
        """The sentence for a value that the rule forbids; "" for one that it allows."""


@dataclass(frozen=True)
class Choices:
    """The value is one of these words, or numbers."""

    words: tuple

    def __str__(self) -> str:
        return ", ".join(str(word) for word in self.words if word != "")

    def refusal(self, key: str, value: Any) -> str:
        """As `Limit` says."""
        return "" if value in self.words else not_one_of(key, value, self.words)


class Bounds:
    """The value is a number for which each comparison is true: `Bounds(">= 0", "< 1")`."""

    def __init__(self, *comparisons: str) -> None:
        pairs = [comparison.split() for comparison in comparisons]
        self.comparisons = [(sign, float(number)) for sign, number in pairs]
        self._said = " and ".join(f"{WORDS[sign]} {number}" for sign, number in pairs)

    def __str__(self) -> str:
        return self._said

    def hold(self, value: Any) -> bool:
        """Whether a value is such a number; nan is none."""
        is_number = type(value) in (int, float)
        return is_number and all(COMPARED[sign](value, number) for sign, number in self.comparisons)

    def refusal(self, key: str, value: Any) -> str:
        """As `Limit` says."""
        return "" if self.hold(value) else f"{key} is {value}; it must be {self}."


@dataclass(frozen=True)
class EachWithin:
    """The value is a list of numbers within bounds."""

    bounds: Bounds

    def __str__(self) -> str:
        return f"each {self.bounds}"

    def refusal(self, key: str, value: Any) -> str:
        """As `Limit` says."""
        wrong = [item for item in value if not self.bounds.hold(item)]
        return f"{key} is {list(value)}, where {wrong[0]!r} must be {self.bounds}." if wrong else ""


Positive = Annotated[float, Bounds("> 0")]
NonNegative = Annotated[float, Bounds(">= 0")]
Share = Annotated[float, Bounds(">= 0", "<= 1")]
ShareBelowOne = Annotated[float, Bounds(">= 0", "< 1")]
Count = Annotated[int, Bounds(">= 1")]
ZeroOrMore = Annotated[int, Bounds(">= 0")]


def limit_of(annotation: Any) -> Limit | None:
    """The limit that a type sets; None where every value of the type is allowed."""
    if get_origin(annotation) is Literal:
        return Choices(get_args(annotation))
    if get_origin(annotation) is Sequence:
        (item,) = get_args(annotation)
        bounds = limit_of(item)
        return EachWithin(bounds) if isinstance(bounds, Bounds) else None
    return next((note for note in getattr(annotation, "__metadata__", ()) if isinstance(note, Bounds)), None)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of a type and within its limit. Only types that a YAML can hold are checked, others pass."""
    if annotation is None or annotation is type(None):
        return value is None
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return any(value == word and type(value) is type(word) for word in parts)
    if origin is Annotated:
        limit = limit_of(annotation)
        return fits(value, parts[0]) and not (limit and limit.refusal("", value))
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin in (Sequence, list, tuple):
        return isinstance(value, list | tuple) and (origin is tuple or all(fits(item, parts[0]) for item in value))
    if annotation is float:
        return type(value) in (int, float)
    return type(value) is annotation if annotation in (bool, int, str) else True


def spelled(annotation: Any) -> str:
    """A type as a sentence names it: int at least 1."""
    if get_origin(annotation) is Annotated:
        limit = limit_of(annotation)
        return f"{spelled(get_args(annotation)[0])} {limit or ''}".rstrip()
    return inspect.formatannotation(annotation).replace("typing.", "")


def coerce(value: Any, default: Any) -> Any:
    """A value in the type of its default. A default of None takes any plain value.

    An int becomes a float, and a number becomes text, but nothing else changes its type: 1 is not true, 2.0 is not 2.

    Raises:
        TypeError: with the name of the type that is needed.
    """
    kind = list if isinstance(default, tuple) else type(default)
    if default is None and isinstance(value, PLAIN):
        return value
    if kind is list and isinstance(value, list | tuple):
        return list(value)
    if type(value) is kind:
        return value
    if kind is float and (type(value) is int or _is_exponent(value)):
        return float(value)
    if kind is str and type(value) in (int, float):
        return str(value)
    raise TypeError(KINDS.get(kind, "a plain value"))


def _is_exponent(value: Any) -> bool:
    """YAML 1.1 reads 1e-3, without a point, as text."""
    return isinstance(value, str) and EXPONENT.fullmatch(value) is not None
