"""Run a suite: many configs, seeds and tests, each the command lines that a user would type."""

from __future__ import annotations

from collections.abc import Sequence

from .common import command_parser

EXAMPLES = """\
examples:
  {command} configs/suites/glyphs.yaml --devices cpu --jobs 2
  {command} configs/suites/cifar_conv4.yaml --devices 0 1 2 3
  {command} configs/suites/cifar_conv4.yaml --status
  {command} configs/suites/cifar_conv4.yaml --table markdown

The same command after a crash runs only what is missing. docs/suites.md describes the file.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run, or say how far the suite is."""
    cli = command_parser("suite", __doc__, EXAMPLES)
    cli.add_argument("suite", metavar="SUITE", help="YAML file, e.g. configs/suites/glyphs.yaml")
    cli.add_argument("--devices", nargs="+", default=["0"], metavar="D", help="dealt out one a job (default: 0)")
    cli.add_argument("--jobs", type=int, default=0, help="cells at a time (default: one for each device)")
    cli.add_argument("--threads", type=int, default=0, help="CPU threads of a cell (default: the cores by the jobs)")
    instead = cli.add_mutually_exclusive_group()
    instead.add_argument("--status", action="store_true", help="print a line for each cell and stop")
    instead.add_argument("--table", choices=("text", "markdown", "latex", "csv"), help="print the table and stop")
    instead.add_argument("--cancel", action="store_true", help="stop what runs on this machine")
    args = cli.parse_args(arguments)

    from ..suites import commands

    if args.status:
        print(commands.status(args.suite))
    elif args.table:
        print(commands.table(args.suite, args.table))
    elif args.cancel:
        commands.cancel(args.suite)
    else:
        commands.run_suite(args.suite, args.devices, args.jobs, args.threads)
