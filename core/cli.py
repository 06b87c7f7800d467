"""What every command shares: errors as one sentence and an exit code, arguments, the log."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

from .errors import UserError

# What a number looks like, how it is called, an example.
NUMBERS = {
    int: (r"\d+", "a whole number", "1 5"),
    float: (r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", "a number", "-0.1 0"),
}


def run_command(main: Callable[[], None]) -> None:
    """Run a command; what the user can fix is printed as one sentence, with exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def parser(description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends with worked examples, with the arguments that all commands on a config share."""
    made = argparse.ArgumentParser(
        description=description, epilog=f"examples:\n{examples}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--cfg", required=True, metavar="FILE", help="YAML file, e.g. configs/Glyphs/ProtoNet_N5K1_C4.yaml"
    )
    made.add_argument(
        "--device", "-d", default="0", help="number of a GPU, or cpu (default: 0, and the CPU without a GPU)"
    )
    made.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's choice)")
    made.add_argument("opts", nargs="*", metavar="KEY VALUE", help="overrides of config keys, also as KEY=VALUE")
    return made


def split_options(values: list[str]) -> tuple[list[str], list[str]]:
    """Part what a shell's glob gave from the config keys behind it: `-c a.pth b.pth EVAL.EPISODES 600`."""
    key = re.compile(r"(?!.*\.pth$)[A-Z]+(\.\w+)*(=|$)")
    keys = [i for i, value in enumerate(values) if key.match(value) and not Path(value).exists()]
    first = keys[0] if keys else len(values)
    return values[:first], values[first:]


def numbers(option: str, values: list[str], kind: type = int) -> tuple[list, list[str]]:
    """The numbers that an option lists, whole ones or floats, and the config keys behind them."""
    listed, keys = split_options(values)
    pattern, called, example = NUMBERS[kind]
    for value in listed:
        if not re.fullmatch(pattern, value):
            raise UserError(f"{option} lists {value!r}, which is not {called}; write {option} {example}, for example.")
    return [kind(value) for value in listed], keys


def start_log(file: Path | None = None) -> logging.Logger:
    """The log: to the terminal, and to a file of the run folder."""
    log = logging.getLogger("fiveway")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in log.handlers:
        handler.close()
    log.handlers = [logging.StreamHandler(sys.stdout)]
    if file is not None:
        written = logging.FileHandler(file, encoding="utf-8")
        written.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(written)
    return log
