"""What every command shares: errors as one sentence and an exit code, and arguments."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from ..paths import PACKAGE, ROOT, command
from ..stopping import exit_code, stoppable
from ..text import visible

# What a number looks like, how it is called, an example.
NUMBERS = {
    str: (r".+", "a name", "train val"),
    int: (r"\d+", "a whole number", "1 5"),
    float: (r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", "a number", "-0.1 0"),
}


def run_script(name: str) -> None:
    """Import a command, one of `paths.SCRIPTS`, and run it."""
    run_command(lambda: importlib.import_module(f"..{name}", __name__).main())


def _not_imported(error: ModuleNotFoundError) -> str:
    """The sentence for a package that a file which is not FiveWay's imports; "" where the file is FiveWay's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    file = Path(frames[-1].filename) if frames else PACKAGE
    if not error.name or file.is_relative_to(PACKAGE) or file.is_relative_to(ROOT / "experiments"):
        return ""
    return f"{file} line {frames[-1].lineno} imports {error.name}, which is not installed; install it with pip."


def _not_installed(package: str) -> str:
    """The sentence for a package that this Python lacks."""
    environment = ROOT / ".venv"
    if (environment / "bin/python").exists() and Path(sys.prefix) != environment:
        fix = "start the script with .venv/bin/python, or run `source .venv/bin/activate` first"
    else:
        fix = "run `make demo`, which makes .venv, or `python -m pip install -r requirements.txt`"
    return f"{package} is not installed for {sys.executable}; {fix}."


def run_command(main: Callable[[], None]) -> None:
    """Run a command. An error that the user can fix, a missing package too, is printed as one sentence: exit code 2."""
    try:
        with stoppable():
            _refuse_bytes(sys.argv[1:])
            main()
    except UserError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        if package == __name__.partition(".")[0]:
            raise
        print(f"error: {_not_imported(error) or _not_installed(package)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read what is printed has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt as stop:
        print("interrupted", file=sys.stderr)
        sys.exit(exit_code(stop))


def _refuse_bytes(words: list[str]) -> None:
    """Refuse names of files that no YAML, JSON or log of a run could hold.

    Raises:
        UserError: with the first word that is not UTF-8.
    """
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UserError(f"{word!r} holds bytes that are not UTF-8; rename that file or folder.")


def command_parser(name: str, description: str | None, epilog: str) -> argparse.ArgumentParser:
    """A parser without arguments; `{command}` in the epilog stands for the way this command is called.

    `name` is one of `paths.SCRIPTS`.
    """
    called = command(name)
    return argparse.ArgumentParser(
        prog=called.rsplit("/", 1)[-1],
        description=description,
        epilog=epilog.replace("{command}", called),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def config_parser(name: str, description: str | None, examples: str, required: bool = True) -> argparse.ArgumentParser:
    """A parser whose help ends with worked examples, with the arguments that all commands on a config share.

    `required` says whether there must be a config.
    """
    parser = command_parser(name, description, f"examples:\n{examples}")
    parser.add_argument(
        "--cfg",
        required=required,
        default="",
        metavar="FILE",
        help=f"YAML file, e.g. configs/Glyphs/ProtoNet_N5K1_C4.yaml{'' if required else '; a checkpoint has its own'}",
    )
    parser.add_argument(
        "--device", "-d", default="0", help="number of a GPU, or cpu (default: 0, or the CPU where there is no GPU)"
    )
    parser.add_argument("-gpu", dest="device", help=argparse.SUPPRESS)  # as DeepEMD's authors spell it
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config keys to change, also as KEY=VALUE")
    return parser


def add_checkpoint_base(parser: argparse.ArgumentParser) -> None:
    """Let a command that trains be told where run folders are made."""
    words = "folder of run folders (default: checkpoint)"
    parser.add_argument("--checkpoint_base", "-c", default="checkpoint", metavar="DIR", help=words)


def split_options(values: list[str]) -> tuple[list[str], list[str]]:
    """Split the files of a shell's glob from the overrides that follow them: `-c a.pth b.pth EVAL.EPISODES 600`."""
    key = re.compile(r"(?!.*\.pth$)[A-Z_]+(\.\w+)*(=|$)")
    keys = [i for i, value in enumerate(values) if key.match(value) and not Path(value).exists()]
    first = keys[0] if keys else len(values)
    return values[:first], values[first:]


def numbers(option: str, values: list[str], kind: type = int) -> tuple[list, list[str]]:
    """The numbers, of type `kind`, that an option lists, and the config overrides that follow them."""
    listed, overrides = split_options(values)
    pattern, called, example = NUMBERS[kind]
    for value in listed:
        if not re.fullmatch(pattern, value):
            raise UserError(f"{option} lists {value!r}, which is not {called}; write {option} {example}, for example.")
    return [kind(value) for value in listed], overrides
