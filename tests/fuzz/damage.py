"""How files are damaged, and what odd values people write: strategies of hypothesis."""

from __future__ import annotations

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
