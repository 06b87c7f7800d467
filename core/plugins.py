"""A user's own modules (config key PLUGINS): their import, and what may go wrong in it."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from types import TracebackType

from .errors import UserError
from .paths import PACKAGE


def import_plugins(modules: list[str]) -> None:
    """Import a user's own modules, e.g. ["my_method"].

    Raises:
        UserError: with the first that cannot be imported, and the line that fails.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except UserError as error:  # FiveWay refuses what the module registers
            raise UserError(f"{_lines(error.__traceback__)[-1]}: {error}") from error
        except Exception as error:  # whatever a user's code raises
            where = "".join(f", {line}" for line in _lines(error.__traceback__)[:1])
            raise UserError(
                f"PLUGINS names {name!r}, which Python cannot import ({type(error).__name__}: {error}{where}); "
                "correct it, and put it on PYTHONPATH or next to the scripts."
            ) from error


def _lines(trace: TracebackType | None) -> list[str]:
    """FILE line N of each call in a user's code, the outermost first."""
    frames = traceback.extract_tb(trace)
    users = [f for f in frames if "importlib" not in f.filename and not Path(f.filename).is_relative_to(PACKAGE)]
    return [f"{frame.filename} line {frame.lineno}" for frame in users]
