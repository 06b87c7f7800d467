"""Sentences on a name that is none of those there are."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any


def nearest(name: Any, known: Collection[Any]) -> str:
    """' (did you mean X?)' for the closest known name, or nothing."""
    lower = {str(k).lower(): k for k in known}
    close = difflib.get_close_matches(str(name).lower(), lower, n=1)
    return f" (did you mean {lower[close[0]]}?)" if close else ""


def not_one_of(key: str, value: Any, known: Collection[Any]) -> str:
    """The sentence for a value that is none of those there are; an empty one, "not set", is not listed."""
    listed = ", ".join(str(word) for word in known if word != "")
    return f"{key} is {value!r}, which is not one of: {listed}{nearest(value, known)}."
