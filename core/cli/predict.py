"""Answer which class photographs are of, from a few labelled ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .common import command_parser, split_options

EXAMPLES = """\
examples:
  {command} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml --checkpoint RUN --support photos/labelled --query photos/new
  {command} --classifier answers/classifier --query photos/more --out more_answers

--support holds one folder of photos for each class; any number of each will do. --query is a folder, which is searched
at any depth, or files. If it holds folders called like the classes, the share of right answers is printed too.
Answers are in report.html, a page to look at, answers.csv, answers.json and answers.png of --out; its folder
`classifier` answers without the supports.
Exit code 1 says that some files could not be read.
"""
REJECT = "leave photos without a class that fit theirs worse than this share of the supports does (default: 0, none)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and answer."""
    cli = command_parser("predict", __doc__, EXAMPLES)
    cli.add_argument("--support", type=Path, metavar="DIR", help="folder with one folder of photos for each class")
    cli.add_argument("--query", type=Path, nargs="+", required=True, metavar="PATH", help="photos, or folders of them")
    network = cli.add_argument_group("what answers", "one of these three")
    network.add_argument("--cfg", metavar="FILE", help="YAML file of a trained network; needs --checkpoint")
    network.add_argument("--classifier", type=Path, metavar="DIR", help="a folder that an earlier call wrote")
    cli.add_argument("--checkpoint", "-c", nargs="+", metavar="RUN", help="run folder or checkpoint of --cfg")
    cli.add_argument("--head", metavar="NAME", help="method that answers (default: own, the network's)")
    cli.add_argument("--reject", type=float, default=0.0, metavar="SHARE", help=REJECT)
    cli.add_argument("--out", type=Path, default=Path("answers"), metavar="DIR", help="folder of the answers")
    cli.add_argument("--cache", metavar="DIR", help="folder of features (default: the user's cache; '' keeps none)")
    cli.add_argument("--device", "-d", default="0", help="number of a GPU, or cpu (default: 0, else the CPU)")
    cli.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's choice)")
    cli.add_argument("opts", nargs="*", metavar="KEY VALUE", help="overrides of config keys, also as KEY=VALUE")
    args = cli.parse_intermixed_args(arguments)
    _refuse(args)

    from ..predict.command import Request, run

    complete = run(
        Request(
            query=args.query,
            out=args.out,
            support=args.support,
            classifier=args.classifier,
            cfg=args.cfg,
            checkpoint=args.checkpoint and Path(args.checkpoint[0]),
            overrides=args.opts,
            head=args.head or "own",
            reject=args.reject,
            cache=args.cache,
            device=args.device,
            threads=args.threads,
        )
    )
    if not complete:
        sys.exit(1)


def _refuse(args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and part the checkpoint from the overrides that follow it."""
    ways = {"--cfg": args.cfg, "--classifier": args.classifier}
    given = [option for option, value in ways.items() if value is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given" if given else "nothing says what answers"
        raise UserError(f"{what}; give one of {', '.join(ways)}.")
    if args.classifier is not None:
        unread = {"--support": args.support, "--head": args.head, "--checkpoint": args.checkpoint}
        for option, value in unread.items():
            if value is not None:
                raise UserError(f"{option} is given, but the folder {args.classifier} says it already; leave it out.")
        return
    if args.support is None:
        raise UserError("--support is missing; give a folder with one folder of photos for each class.")
    if args.cfg and not args.checkpoint:
        raise UserError(f"--cfg is {args.cfg}, but --checkpoint is missing; give the run folder of that config.")
    args.checkpoint, overrides = split_options(args.checkpoint)
    args.opts = overrides + args.opts
    if len(args.checkpoint) != 1:
        raise UserError(f"--checkpoint names {len(args.checkpoint)} files; give one run folder or checkpoint.")
