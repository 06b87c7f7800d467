"""The console command `fiveway`: one name for all commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from . import analyse, compare, demo, evaluate, export, predict, prepare, suite, train
from .common import run_command

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "analyse": analyse,
    "prepare": prepare,
    "suite": suite,
    "predict": predict,
    "export": export,
    "demo": demo,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names with the other arguments."""
    lines = "\n".join(f"  {name:10}{module.__doc__}" for name, module in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="fiveway",
        description="Few-shot image classification: train, evaluate and compare methods on identical episodes.",
        epilog=f"commands:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fiveway {__version__}")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the command; COMMAND --help lists them")
    args = parser.parse_args(arguments)
    COMMANDS[args.command].main(args.arguments)


def run() -> None:
    """What the installed script calls. PLUGINS are also looked for in the working folder."""
    sys.path.append(os.getcwd())
    run_command(main)


if __name__ == "__main__":
    run()
