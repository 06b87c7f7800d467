"""A user's own modules (config key PLUGINS): their import, and what may go wrong in it."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from .errors import UserError
from .paths import PACKAGE

NAMES = ("core", "fiveway")  # of this package: in a checkout, and installed


def import_plugins(modules: list[str]) -> None:
    """Import a user's own modules, e.g. ["my_method"].

    Raises:
        UserError: with the first that cannot be imported, and the line that fails.
    """
    for name in modules:
        _refuse_path(name)
        try:
            importlib.import_module(name)
        except UserError as error:  # FiveWay refuses what the module registers
            raise UserError(f"{_lines(error.__traceback__)[-1]}: {error}") from error
        except SystemExit as stop:
            raise UserError(
                f"PLUGINS names {name!r}, whose import calls sys.exit ({_lines(stop.__traceback__)[0]}); put that "
                'below if __name__ == "__main__".'
            ) from stop
        except Exception as error:  # whatever a user's code raises
            where = "".join(f", {line}" for line in _lines(error.__traceback__)[:1])
            raise UserError(
                f"PLUGINS names {name!r}, which Python cannot import ({type(error).__name__}: {error}{where}); "
                f"{_remedy(name, error)}."
            ) from error


def described(modules: Sequence[str]) -> str:
    """Imported modules, each with its file."""
    files = {name: getattr(sys.modules.get(name), "__file__", None) or "part of Python" for name in modules}
    return ", ".join(f"{name} ({file})" for name, file in files.items())


def _refuse_path(name: str) -> None:
    """Refuse the file of a module in place of its name."""
    if name.endswith(".py") or "/" in name or os.sep in name:
        module = Path(name).name.removesuffix(".py")
        raise UserError(
            f"PLUGINS names {name!r}, which is a path; name the module, {module}, and put its folder on PYTHONPATH."
        )


def _remedy(name: str, error: Exception) -> str:
    """What helps against the failure of an import."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if not missing:
        return "correct it"
    if f"{name}.".startswith(f"{missing}."):
        return "correct it, and put it on PYTHONPATH or next to the scripts"
    return absent(missing)


def absent(module: str) -> str:
    """What helps where a user's code imports a module that there is not."""
    package = module.partition(".")[0]
    if package in NAMES:
        return "correct that import" if package == __package__ else f"FiveWay is called {__package__} here: import that"
    return f"install {package} with pip, or correct that import"


def _lines(trace: TracebackType | None) -> list[str]:
    """FILE line N of each call in a user's code, the outermost first."""
    frames = traceback.extract_tb(trace)
    users = [f for f in frames if "importlib" not in f.filename and not Path(f.filename).is_relative_to(PACKAGE)]
    return [f"{frame.filename} line {frame.lineno}" for frame in users]
