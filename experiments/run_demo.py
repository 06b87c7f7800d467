"""Serve a page on which photographs are dropped into classes and answered."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.cli.common import run_script

if __name__ == "__main__":
    run_script("demo")
