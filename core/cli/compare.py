"""Compare evaluated runs on the same episodes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .common import command_parser

EXAMPLES = """\
examples:
  {command} checkpoint/Glyphs_ProtoNet_N5K1_C4 checkpoint/Glyphs_NegMargin_N5K1_C4
  {command} checkpoint/CIFAR-FS_* --all-pairs --format latex --out table.tex
  {command} checkpoint/CIFAR-FS_* --page comparison.html

A RUN is a run folder, or one of its evaluations (the folder that holds a result.json). Run folders are compared on each
set of episodes on which all of them were evaluated. If there is none, as with several data sets, there is a table for
each set of RUNs that share episodes. Runs that differ only in their training seed share a row. Folders without an
evaluation are skipped, with a line each.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and compare."""
    cli = command_parser("compare", __doc__, EXAMPLES)
    cli.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder or evaluation folder")
    cli.add_argument("--all-pairs", action="store_true", help="compare all pairs (default: each run with the first)")
    cli.add_argument("--each", action="store_true", help="keep the training seeds of one config apart")
    cli.add_argument("--external", action="store_true", help="allow pretrained encoders beside other networks")
    forms = ("text", "markdown", "latex", "csv")
    cli.add_argument("--format", choices=forms, default="text", help="of the tables (default: text)")
    cli.add_argument("--out", type=Path, metavar="FILE", help="write the tables to this file instead of printing them")
    cli.add_argument("--page", type=Path, metavar="FILE", help="also write an HTML page with pictures to this file")
    args = cli.parse_args(arguments)

    from ..build.config import schemas
    from ..files import write_text
    from ..report.compare import as_tables, compare
    from ..report.page.comparison import comparison_sections
    from ..report.page.render import page

    schemas()  # registers the classes, whose arguments a run of an older version may have saved under former names
    compared = compare(args.runs, args.all_pairs, args.each, args.external)
    tables = as_tables(compared, args.all_pairs, args.format)
    if args.out:
        write_text(args.out, tables + "\n")
    else:
        print(tables)
    if args.page:
        write_text(args.page, page("Comparison", comparison_sections(compared)))
        print(f"page  {args.page}", file=sys.stderr)
