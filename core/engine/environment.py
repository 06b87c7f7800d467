"""What a run ran on, for env.json."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from .. import __version__, ranks
from ..paths import ROOT
from . import device


def environment(where: torch.device) -> dict[str, Any]:
    """The command, the versions, the machine and the commit."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": device.describe(where),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": ranks.current().count,
        "commit": commit(),
    }


def commit() -> str:
    """The checkout's git commit, with + where files differ from it; the version where there is no git."""
    git = ["git", "describe", "--always", "--dirty=+", "--abbrev=40"]
    if (ROOT / ".git").exists():  # else git would describe a repository that an installed package happens to lie in
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return f"version {__version__}"
