"""Read pickles that strangers made: they may hold data, and call nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import isolated


def load_pickle(path: Path) -> Any:
    """The data in a pickle file; strings of Python 2 are read as latin-1, tuples as lists, NumPy's numbers as Python's.

    Raises:
        UserError: where the file is damaged, or asks for anything but data.
    """
    return isolated.read("data", path)
