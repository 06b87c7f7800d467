"""Run a suite: train and evaluate all configs, seeds and tests that a file lists."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import UserError
from . import evaluate
from .common import command_parser

LOCAL_ONLY = ("devices", "jobs", "threads")
SLURM_ONLY = ("partition", "gpus", "cpus", "time", "requeue")

EXAMPLES = """\
examples:
  {command} configs/suites/glyphs.yaml --devices cpu --jobs 2
  {command} configs/suites/cifar_conv4.yaml --devices 0 1 2 3
  {command} configs/suites/cifar_conv4.yaml --launch slurm --partition gpu --gpus 1 --time 12:00:00
  {command} configs/suites/cifar_conv4.yaml --status
  {command} configs/suites/cifar_conv4.yaml --table markdown
  {command} configs/suites/cifar_conv4.yaml --collect results

A cell is one training with its tests. The same command after a crash runs only what is missing. docs/suites.md
describes the file.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run, or say how far the suite is."""
    cli = command_parser("suite", __doc__, EXAMPLES)
    cli.add_argument("suite", metavar="SUITE", help="YAML file, e.g. configs/suites/glyphs.yaml")
    cli.add_argument("--only", metavar="NAME", help="run this cell alone, to its end, on this machine")
    cli.add_argument("--launch", choices=("local", "slurm"), default="local", help="where cells run (default: local)")
    local = cli.add_argument_group("on this machine")
    local.add_argument(
        "--devices", nargs="+", metavar="D", help="numbers of GPUs, one for each cell at a time, or cpu (default: 0)"
    )
    local.add_argument("--jobs", type=int, metavar="N", help="cells at a time (default: number of devices)")
    local.add_argument("--threads", type=int, metavar="N", help="CPU threads of a cell (default: cores / jobs)")
    slurm = cli.add_argument_group("on SLURM, for each cell")
    slurm.add_argument("--partition", metavar="P", help="partition (default: SLURM's)")
    slurm.add_argument("--gpus", type=int, metavar="N", help="GPUs: 1, or 0 for the CPU (default: 1)")
    slurm.add_argument("--cpus", type=int, metavar="N", help="CPU cores (default: 1)")
    slurm.add_argument("--time", metavar="HH:MM:SS", help="time limit of a start (default: 12:00:00)")
    slurm.add_argument("--requeue", type=int, metavar="N", help="restarts after preemptions and time-outs (default: 3)")
    instead = cli.add_mutually_exclusive_group()
    instead.add_argument("--status", action="store_true", help="print a line for each cell and stop")
    instead.add_argument("--table", choices=("text", "markdown", "latex", "csv"), help="print the table and stop")
    instead.add_argument("--collect", metavar="FOLDER", help="copy what finished cells measured to FOLDER/<suite>")
    instead.add_argument("--cancel", action="store_true", help="stop what runs on this machine or is in SLURM's queue")
    args = cli.parse_args(arguments)
    _refuse_others(args)
    if not (args.status or args.table or args.collect or args.cancel):
        _refuse_tests(args.suite)

    from ..suites import commands
    from ..suites.slurm import Resources

    if args.status:
        print(commands.status(args.suite))
    elif args.table:
        print(commands.table(args.suite, args.table))
    elif args.collect:
        commands.collect_results(args.suite, args.collect)
    elif args.cancel:
        commands.cancel(args.suite)
    elif args.only is not None:
        commands.run_cell(args.suite, args.only, (args.devices or ["0"])[0], args.threads or 0)
    elif args.launch == "slurm":
        commands.submit_suite(args.suite, Resources(**_options(args, SLURM_ONLY)))
    else:
        commands.run_suite(args.suite, **{"devices": ["0"], **_options(args, LOCAL_ONLY)})


def _refuse_others(args: argparse.Namespace) -> None:
    """Refuse options that belong to another place than --launch names."""
    others, place = ((*LOCAL_ONLY, "only"), "on this machine") if args.launch == "slurm" else (SLURM_ONLY, "on SLURM")
    for name in _options(args, others):
        raise UserError(f"--{name} is for cells {place}, but --launch is {args.launch}; leave one out.")
    way = next(
        (name for name in ("status", "table", "collect", "cancel", "only") if getattr(args, name) not in (None, False)),
        "",
    )
    ignored = {"": (), "only": ("jobs",)}.get(way, (*LOCAL_ONLY, *SLURM_ONLY, "only"))
    for name in _options(args, ignored):
        raise UserError(f"--{name} has no meaning with --{way}; leave one out.")
    if args.only is not None and len(args.devices or []) > 1:
        raise UserError(f"--devices lists {len(args.devices)}, but --only runs one cell; give one.")


def _options(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The options that the user gave, by name."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _refuse_tests(file: str) -> None:
    """Refuse a test whose options run_evaluator.py would refuse, before the training that comes first.

    Raises:
        UserError: with what is wrong with the options.
    """
    from ..suites.suite import read_suite

    for words in dict.fromkeys(test for cell in read_suite(file) for test in cell.tests):

        def refuse(message: str, words: tuple[str, ...] = words) -> NoReturn:
            raise UserError(f"{file}: TESTS has {' '.join(words)}, which run_evaluator.py refuses: {message}.")

        if evaluate.parse(["--run", "RUN", *words], refuse)["protocol"] == "features":
            refuse("they write features and measure nothing")
