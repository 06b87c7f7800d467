"""How files are damaged, and what odd values people write: strategies of hypothesis."""

from __future__ import annotations

import copy
import os
from typing import Any

from hypothesis import strategies as st

KINDS = ("flip", "set", "cut", "insert", "repeat", "zeros", "swap")
PLACES = 1 << 16

edits = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, PLACES - 1), st.integers(0, 255), st.integers(1, 64)),
    min_size=1,
    max_size=6,
)
ODD_NUMBERS = [0, -1, 1, 2, 3, 7, 1e9, -1e9, 2**31, 2**63, 2**64, 10**30, 0.5, -0.5, 1e-300, 1e308]
ODD_NUMBERS += [float("nan"), float("inf"), -float("inf")]
ODD_TEXTS = ["", " ", "train", "Glyphs", "folder:~nosuchuser/x", "folder:", "../..", "\x1b[31m", "=1+1", "é", "a" * 300]
ODD_TEXTS += ["../../etc/passwd", "/dev/zero", "{}", "[", "null", "1e5", "\ud800", "a\x00b"]
ODD_NAMES = [
    "a",
    "a.png",
    "../x.png",
    "/tmp/x.png",
    "train",
    "test",
    "val",
    ".hidden",
    "__MACOSX",
    "\udcff.png",
    "\udcff",
]
ODD_NAMES += [
    "é.png",
    "x\ny.png",
    "\x1b[31m.png",
    "=1+1.png",
    "a/b.png",
    "a" * 200,
    "images",
    "CON",
    " ",
    "x.PNG",
    "\u202e",
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([*ODD_NUMBERS, *ODD_TEXTS]),
)
keys = st.one_of(st.text(max_size=6), st.integers(-3, 3), st.booleans(), st.none())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=8
)


WORDS = [
    "1",
    "2",
    "5",
    "0.1",
    "1e-3",
    "true",
    "[]",
    "[1, 2]",
    "[meta]",
    "{}",
    "Conv4",
    "ProtoNet",
    "ce",
    "16",
    "[flip]",
]
texts = st.one_of(st.text(max_size=12), st.sampled_from(WORDS))


def damaged(content: bytes, changes: list[tuple[str, int, int, int]]) -> bytes:
    """A file's content after some changes, each (kind, place as a share of 65536, byte, length)."""
    data = bytearray(content)
    for kind, share, byte, length in changes:
        place = share * len(data) // PLACES
        part = slice(place, place + length)
        if kind == "flip" and data:
            data[min(place, len(data) - 1)] ^= byte or 1
        elif kind == "set":
            data[part] = bytes([byte]) * len(data[part])
        elif kind == "cut":
            del data[part if byte % 2 else slice(place, None)]
        elif kind == "insert":
            data[place:place] = bytes((byte * i) % 256 for i in range(length))
        elif kind == "repeat":
            data[place:place] = data[part] * (1 + byte % 8)
        elif kind == "zeros":
            data[part] = bytes(len(data[part]))
        elif kind == "swap":
            other = slice(byte * len(data) // 256, byte * len(data) // 256 + length)
            data[part], data[other] = data[other], data[part]
    return bytes(data)


# One change of a nested value: (place as a share of 65536, what is done there, a key, a value).
changes = st.lists(
    st.tuples(st.integers(0, PLACES - 1), st.sampled_from(("set", "drop", "add", "copy")), keys, values),
    min_size=1,
    max_size=3,
)
names = st.one_of(st.sampled_from(ODD_NAMES), st.text(max_size=6))


def altered(tree: Any, steps: list[tuple[int, str, Any, Any]]) -> Any:
    """A nested value of dicts and lists after some `changes`."""
    tree = copy.deepcopy(tree)
    for share, deed, key, value in steps:
        places = _places(tree)
        if not places:
            return value
        holder, name = places[share * len(places) // PLACES]
        inner = holder[name]
        if deed == "drop":
            del holder[name]
        elif deed == "add" and isinstance(inner, dict):
            inner[key] = value
        elif deed == "add" and isinstance(inner, list):
            inner.insert(share % (len(inner) + 1), value)
        elif deed == "copy":
            other, place = places[(share * 31 + 7) % len(places)]
            holder[name] = copy.deepcopy(other[place])
        else:
            holder[name] = value
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (dict or list, key or index) of a nested value."""
    places, waiting = [], [tree]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            entries = holder.items() if isinstance(holder, dict) else enumerate(holder)
            places += [(holder, key) for key, _ in entries]
            waiting += list(holder.values() if isinstance(holder, dict) else holder)
    return places


def plain_name(name: str) -> str:
    """A file name that stays in its folder, is not hidden, and that a disk can hold."""
    text = name.replace("/", "_").replace("\0", "_").lstrip(".") or "_"
    return os.fsdecode("".join(letter if _fits(letter) else "?" for letter in text).encode("utf-8", "surrogateescape"))


def _fits(letter: str) -> bool:
    """Whether a letter is one of UTF-8, or stands for a byte that is none."""
    return not "\ud800" <= letter <= "\udfff" or "\udc80" <= letter <= "\udcff"
