"""Evaluate checkpoints of a YAML file on its test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .common import config_parser, numbers, split_options

EXAMPLES = """\
  {command} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml -c checkpoint/*/*.pth --device cpu
  {command} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml -c best.pth TASK.TEST.SHOT 5
  {command} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml --untrained
  {command} --cfg configs/Glyphs/NegMargin_N5K1_C4.yaml -c best.pth --shots 1 5 --ways 5 10 \\
      --methods own,ProtoNet
"""


def names(text: str) -> list[str]:
    """Names between commas."""
    return [name for name in text.replace(" ", "").split(",") if name]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and evaluate."""
    cli = config_parser("evaluate", __doc__, EXAMPLES)
    chosen = cli.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "--checkpoint", "-c", nargs="+", metavar="FILE", help="checkpoint, or what a glob makes of several"
    )
    chosen.add_argument(
        "--checkpoint_base", "-b", metavar="DIR", help="folder of run folders: the same as -c DIR/*/*.pth"
    )
    chosen.add_argument("--untrained", action="store_true", help="the network as initialised: the floor to beat")
    asked = cli.add_argument_group("several questions from one encoding, one result each")
    asked.add_argument("--shots", nargs="+", default=[], metavar="K", help="instead of TASK.TEST.SHOT")
    asked.add_argument("--ways", nargs="+", default=[], metavar="N", help="instead of TASK.TEST.WAY")
    asked.add_argument(
        "--methods",
        type=names,
        default=[],
        metavar="NAME,NAME",
        help="whose heads classify its features; own = its own",
    )
    asked.add_argument("--save-features", default="", metavar="FILE.npz", help="hand the test split's features on")
    asked.add_argument(
        "--generalized",
        action="store_true",
        help="tell novel classes from all base classes too; needs DATASET.BASE_HOLDOUT",
    )
    asked.add_argument(
        "--lowshot",
        default="",
        metavar="GROUP",
        help="ImageNet low-shot, group val or test: novel, base and all classes, for 1 2 5 10 20 shots or --shots",
    )
    args = cli.parse_intermixed_args(arguments)
    checkpoints, overrides = split_options(args.checkpoint or [])
    if args.checkpoint_base:
        found = sorted(Path(args.checkpoint_base).glob("*/*.pth"))
        checkpoints = [str(path) for path in found] or [f"{args.checkpoint_base}/*/*.pth"]
    shots, after_shots = numbers("--shots", args.shots)
    ways, after_ways = numbers("--ways", args.ways)

    from ..commands import evaluate

    evaluate(
        args.cfg,
        overrides + after_shots + after_ways + args.opts,
        checkpoints,
        device_name=args.device,
        threads=args.threads,
        untrained=args.untrained,
        shots=shots,
        ways=ways,
        methods=args.methods,
        save_features=args.save_features,
        generalized=args.generalized,
        lowshot=args.lowshot,
    )
