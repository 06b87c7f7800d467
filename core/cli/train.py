"""Train a method from a YAML file, then evaluate it on the test split."""

from __future__ import annotations

from collections.abc import Sequence

from .common import add_checkpoint_base, config_parser

EXAMPLES = """\
  {command} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml --device cpu
  {command} --cfg configs/CIFAR-FS/ProtoNet_N5K1_C4.yaml --device 0 --resume
  {command} --cfg configs/CIFAR-FS/ProtoNet_N5K1_C4.yaml --tag wide BACKBONE.ARGS.width=128
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    cli = config_parser("train", __doc__, EXAMPLES)
    add_checkpoint_base(cli)
    cli.add_argument(
        "--checkpoint_dir",
        "-p",
        default="",
        metavar="DIR",
        help="the run folder itself, in place of a name made from the YAML",
    )
    cli.add_argument(
        "--eval_after_train",
        "-e",
        type=int,
        default=1,
        choices=(0, 1),
        help="1: evaluate on the test split at the end (default: 1)",
    )
    cli.add_argument("--seed", type=int, help="training seed, the same as SEED=N")
    cli.add_argument("--tag", default="", help="suffix of the run folder's name")
    existing = cli.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with the run in the run folder")
    existing.add_argument("--overwrite", action="store_true", help="delete the run in the run folder and start again")
    cli.add_argument(
        "--print-config",
        choices=("full", "diff"),
        help="print all keys, or those that differ from the defaults, and stop",
    )
    args = cli.parse_intermixed_args(arguments)
    overrides = args.opts + ([f"SEED={args.seed}"] if args.seed is not None else [])

    if args.print_config:
        from ..build.config import load_config

        loaded = load_config(args.cfg, overrides)
        print(loaded.full() if args.print_config == "full" else loaded.diff())
        return

    from ..commands import train
    from ..ranks import end

    train(
        args.cfg,
        overrides,
        device_name=args.device,
        threads=args.threads,
        base=args.checkpoint_base,
        folder=args.checkpoint_dir,
        tag=args.tag,
        resume=args.resume,
        overwrite=args.overwrite,
        evaluate_after=bool(args.eval_after_train),
    )
    end()
