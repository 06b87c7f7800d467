"""Which letters a name may bring to a terminal."""

from __future__ import annotations

import unicodedata

SPOILING = {"Cc", "Cs", "Zl", "Zp"}  # categories: control characters, bytes that are no UTF-8, ends of lines
TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they turn the direction of a line


def is_printable(name: str) -> bool:
    """Whether a name leaves the line of a terminal as it is; unlike str.isprintable, with every kind of space."""
    return not any(map(_spoils, name))


def visible(text: str, kept: str = "\n\t") -> str:
    """A text in which letters that would spoil a line are written out, but for those `kept`."""
    return "".join(
        letter.encode("unicode_escape").decode() if letter not in kept and _spoils(letter) else letter
        for letter in text
    )


def _spoils(letter: str) -> bool:
    """Whether a letter gives a terminal orders, or breaks or turns its line."""
    return unicodedata.category(letter) in SPOILING or letter in TURNING
