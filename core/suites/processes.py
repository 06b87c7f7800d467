"""How the commands of this project are started as processes, in a checkout and in an installed package alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..paths import PACKAGE


def words_of(name: str, arguments: Sequence[str]) -> list[str]:
    """The words that start a command; `name` is one of `paths.SCRIPTS`."""
    return [sys.executable, "-m", f"{__package__.split('.')[0]}.cli.main", name, *arguments]


def python_path() -> str:
    """PYTHONPATH of a process that finds the package wherever it is started."""
    return os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]))
