"""Compare evaluated runs on the same episodes."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.cli import run_command

EXAMPLES = """\
examples:
  python experiments/run_compare.py checkpoint/Glyphs_ProtoNet_N5K1_C4 checkpoint/Glyphs_NegMargin_N5K1_C4
  python experiments/run_compare.py checkpoint/CIFAR-FS_* --all-pairs --format latex --out table.tex

A RUN is a run folder, or one of its evaluations (the folder that holds a result.json). Of run folders, every set of
episodes on which all of them were evaluated is compared. Runs that differ only in their training seed share a row.
"""


def main() -> None:
    """Parse the command line and compare."""
    cli = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cli.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder or evaluation folder")
    cli.add_argument("--all-pairs", action="store_true", help="compare all pairs (default: each run with the first)")
    cli.add_argument("--each", action="store_true", help="keep the training seeds of one config apart")
    cli.add_argument("--format", choices=("text", "markdown", "latex", "csv"), default="text")
    cli.add_argument("--out", type=Path, metavar="FILE", help="write the tables there instead of printing them")
    args = cli.parse_args()

    from core.report.compare import compare
    from core.report.run import write_text

    tables = compare(args.runs, args.all_pairs, args.each, args.format)
    if args.out:
        write_text(args.out, tables + "\n")
    else:
        print(tables)


if __name__ == "__main__":
    run_command(main)
