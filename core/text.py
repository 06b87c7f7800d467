"""Texts as a terminal may be given them."""

from __future__ import annotations

import unicodedata


def visible(text: str, kept: str = "\n\t") -> str:
    """A text whose control characters are written out, but for those `kept`; then no name gives a terminal orders."""
    return "".join(
        letter.encode("unicode_escape").decode()
        if letter not in kept and unicodedata.category(letter).startswith("C")
        else letter
        for letter in text
    )
