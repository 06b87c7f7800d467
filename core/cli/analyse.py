"""Studies of trained networks: tables and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .common import add_checkpoint_base, command_parser, config_parser, numbers, split_options

MARGIN = """\
  {command} margin --cfg configs/CIFAR-FS/NegMargin_N5K1_C4.yaml --margins -0.3 -0.1 0 0.1 0.3
  {command} margin --cfg configs/CIFAR-FS/NegMargin_N5K1_C4.yaml --margins -0.1 0 \\
      --checkpoints checkpoint/one/ebest_5way_1shot.pth checkpoint/other/ebest_5way_1shot.pth
"""
PICTURES = """\
  {command} pictures --checkpoint checkpoint/CIFAR-FS_DeepEMD_FCN_N5K1_C4 --episode 3 --query 20 21
"""


def margin(arguments: list[str]) -> None:
    """Accuracy and spread of features on base and novel classes over the margin of an objective."""
    cli = config_parser("analyse", margin.__doc__, MARGIN)
    cli.prog += " margin"
    cli.add_argument("--margins", nargs="+", required=True, metavar="M", help="values of OBJECTIVE.ARGS.margin")
    cli.add_argument(
        "--checkpoints",
        nargs="+",
        default=[],
        metavar="FILE",
        help="one for each margin, or its run folder, in place of training",
    )
    add_checkpoint_base(cli)
    cli.add_argument("--tag", default="", help="suffix of the run folders' names, before the margin")
    cli.add_argument(
        "--out", default="", metavar="DIR", help="folder of margin.csv and margin.png (default: beside the runs)"
    )
    args = cli.parse_intermixed_args(arguments)
    margins, after_margins = numbers("--margins", args.margins, float)
    checkpoints, after_checkpoints = split_options(args.checkpoints)

    from ..analysis.margin import study_margins

    study_margins(
        args.cfg,
        after_margins + after_checkpoints + args.opts,
        margins,
        checkpoints,
        device_name=args.device,
        threads=args.threads,
        base=args.checkpoint_base,
        tag=args.tag,
        out=args.out,
    )


def pictures(arguments: list[str]) -> None:
    """What a method shows of its work on an episode: matched regions, weights of classes, as a page."""
    cli = config_parser("analyse", pictures.__doc__, PICTURES, required=False)
    cli.prog += " pictures"
    cli.add_argument("--checkpoint", "-c", required=True, metavar="RUN", help="run folder or checkpoint")
    cli.add_argument("--episode", type=int, default=0, help="number of a test episode (default: 0)")
    cli.add_argument("--query", nargs="+", default=["0"], metavar="N", help="numbers of its queries (default: 0)")
    cli.add_argument("--out", default="", metavar="FILE", help="the page (default: in pictures/ beside the checkpoint)")
    args = cli.parse_intermixed_args(arguments)
    queries, after = numbers("--query", args.query)

    from ..analysis.pictures import study_pictures

    study_pictures(
        args.cfg,
        after + args.opts,
        args.checkpoint,
        episode=args.episode,
        queries=queries,
        device_name=args.device,
        threads=args.threads,
        out=args.out,
    )


STUDIES = {"margin": margin, "pictures": pictures}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study that the first argument names with the other arguments."""
    lines = "\n".join(f"  {name:10}{study.__doc__}" for name, study in STUDIES.items())
    cli = command_parser("analyse", __doc__, f"studies:\n{lines}")
    cli.add_argument("study", choices=STUDIES)
    cli.add_argument("arguments", nargs=argparse.REMAINDER, help="of the study; STUDY --help lists them")
    args = cli.parse_args(arguments)
    STUDIES[args.study](args.arguments)
