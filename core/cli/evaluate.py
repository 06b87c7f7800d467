"""Evaluate checkpoints of a YAML file on its test split."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import UserError
from .common import config_parser, numbers, split_options

if TYPE_CHECKING:
    from ..protocols.base import Option

EXAMPLES = """\
  {command} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml --checkpoint checkpoint/Glyphs_ProtoNet_N5K1_C4 --device cpu
  {command} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml --checkpoint RUN TASK.TEST.SHOT 5
  {command} --run checkpoint/Glyphs_ProtoNet_N5K1_C4 TASK.TEST.SHOT 5
  {command} --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml --untrained
  {command} --cfg configs/Glyphs/NegMargin_N5K1_C4.yaml --checkpoint RUN --shots 1 5 --ways 5 10 \\
      --methods own,ProtoNet
  {command} --cfg configs/Glyphs/NegMargin_N5K1_C4.yaml --checkpoint RUN --protocol allway
  {command} --cfg configs/Glyphs/NegMargin_N5K1_C4.yaml --checkpoint RUN --save-features DIR --splits train val test
  {command} --cfg configs/Glyphs/NegMargin_N5K1_C4.yaml --checkpoint RUN EVAL.EPISODES=1000000 --episodes 0:250000
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and evaluate."""
    keywords = parse(arguments)

    from ..commands import evaluate
    from ..ranks import end

    evaluate(**keywords)
    end()


def parse(arguments: Sequence[str] | None, refuse: Callable[[str], NoReturn] | None = None) -> dict[str, Any]:
    """The arguments of `commands.evaluate` that a command line stands for.

    `refuse` is called with what is wrong; without it the parser prints that and exits.
    """
    cli = config_parser("evaluate", __doc__, EXAMPLES, required=False)
    cli.error = refuse or cli.error  # type: ignore[method-assign, assignment]
    _add_networks(cli)
    _add_protocols(cli)
    options = _add_options(cli)
    args = cli.parse_intermixed_args(arguments)
    checkpoints, overrides = split_options(args.checkpoint or [])
    if args.checkpoint_base:
        files = sorted(Path(args.checkpoint_base).glob("*/*.pth"))
        checkpoints = [str(path) for path in files] or [f"{args.checkpoint_base}/*/*.pth"]
    values = {name: getattr(args, name) for name in options if getattr(args, name) is not None}
    for name in values:
        if options[name].many:
            spelled = f"--{name.replace('_', '-')}"
            values[name], after = numbers(spelled, values[name], options[name].kind)
            overrides += after
    if args.lowshot and "group" in values:
        raise UserError(f"--lowshot is {args.lowshot} and --group {values['group']}, which is the same; leave one out.")
    if args.lowshot:
        values["group"] = args.lowshot
    if args.splits and args.protocol == "episodes":
        args.protocol = "features"
    return {
        "cfg_file": args.cfg,
        "overrides": overrides + args.opts,
        "checkpoints": checkpoints,
        "device_name": args.device,
        "threads": args.threads,
        "untrained": args.untrained,
        "protocol": "lowshot" if args.lowshot else args.protocol,
        **values,
    }


def _add_networks(cli: argparse.ArgumentParser) -> None:
    """What is evaluated."""
    networks = cli.add_mutually_exclusive_group(required=True)
    networks.add_argument(
        "--checkpoint", "-c", "--run", nargs="+", metavar="RUN", help="run folder or checkpoint, or a glob of several"
    )
    networks.add_argument(
        "--checkpoint_base", "-b", metavar="DIR", help="folder of run folders: the same as --checkpoint DIR/*/*.pth"
    )
    networks.add_argument("--untrained", action="store_true", help="the network as initialised: the floor to beat")


def _add_protocols(cli: argparse.ArgumentParser) -> None:
    """How it is evaluated."""
    protocols = cli.add_mutually_exclusive_group()
    protocols.add_argument(
        "--protocol",
        default="episodes",
        metavar="NAME",
        help="what is measured: episodes (default), generalized, lowshot, allway, features, or a protocol of your own",
    )
    protocols.add_argument(
        "--generalized",
        action="store_const",
        const="generalized",
        dest="protocol",
        help="--protocol generalized: classify among novel and all base classes; needs DATASET.BASE_HOLDOUT",
    )
    protocols.add_argument(
        "--lowshot",
        default="",
        metavar="GROUP",
        help="--protocol lowshot: ImageNet low-shot on the classes of a group, val or test",
    )


def _add_options(cli: argparse.ArgumentParser) -> dict[str, Option]:
    """What the protocols ask of the command line; returns it by name."""
    from ..protocols.base import all_options, help_text  # they import PyTorch, which other commands' --help needs not

    group = cli.add_argument_group("options of protocols", "the protocols that take an option are in brackets")
    options = {}
    for name, takers in all_options().items():
        options[name] = option = next(iter(takers.values()))
        more: dict[str, Any] = {"nargs": "+"} if option.many else {"type": _names} if option.commas else {}
        more |= {"action": "store_const", "const": True} if option.flag else {"metavar": option.metavar}
        group.add_argument(f"--{name.replace('_', '-')}", default=None, help=help_text(takers), **more)
    return options


def _names(text: str) -> list[str]:
    """Names between commas."""
    return [name for name in text.replace(" ", "").split(",") if name]
