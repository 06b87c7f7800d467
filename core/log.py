"""The log of a command."""

from __future__ import annotations

import logging
import sys
from pathlib import Path


def start_log(file: Path | None = None) -> logging.Logger:
    """The log: to the terminal, and to a file of the run folder."""
    log = logging.getLogger("fiveway")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in log.handlers:
        handler.close()
    log.handlers = [logging.StreamHandler(sys.stdout)]
    if file is not None:
        to_file = logging.FileHandler(file, encoding="utf-8")
        to_file.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(to_file)
    return log
