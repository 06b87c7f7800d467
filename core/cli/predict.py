"""Say which class photographs are of, from a few labelled ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .common import command_parser, split_options

EXAMPLES = """\
examples:
  {command} --support photos/labelled --query photos/new --encoder torchvision:mobilenet_v2 --out answers
  {command} --support photos/labelled --query photos/new --encoder torchvision:mobilenet_v2 --heads RFS,SimpleShot
  {command} --checkpoint RUN --support photos/labelled --query photos/new
  {command} --classifier answers/classifier --query photos/more --out more_answers

--support holds one folder for each class, with any number of photos. --query is a folder, which is searched at any
depth, or files. If it holds folders with the names of the classes, the share of right answers is printed too.
--out gets the answers, as report.html (a page to look at), answers.csv, answers.json and answers.png, and the folder
`classifier`, with which later calls need no --support.
Exit code 1 means that some files could not be read.
"""
HEAD = "method that answers (default: the network's own, or RFS with --encoder), and others to compare with it"
DEPTH = 4  # folders between --support and a photo
NESTED = "levels of folders from --support to a class; 2: animals/cat/1.jpg is of the class animals/cat (default: 1)"
REJECT = "give no class to photos less like every support than this share of photos of the classes (default: 0, none)"
REFERENCE = (
    "class folders of other photos, from which the expected accuracy comes (default: the network's; '' for none)"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and answer."""
    cli = command_parser("predict", __doc__, EXAMPLES)
    cli.add_argument("--support", type=Path, metavar="DIR", help="folder with one folder of photos for each class")
    cli.add_argument("--depth", type=int, choices=range(1, DEPTH + 1), default=None, help=NESTED)
    cli.add_argument("--query", type=Path, nargs="+", required=True, metavar="PATH", help="photos, or folders of them")
    network = cli.add_argument_group("what answers", "--encoder, --checkpoint or --classifier")
    network.add_argument("--encoder", metavar="NAME", help="pretrained network, torchvision:MODEL or timm:MODEL")
    network.add_argument("--checkpoint", "-c", nargs="+", metavar="RUN", help="run folder or checkpoint of a network")
    network.add_argument("--cfg", metavar="FILE", help="YAML file of --checkpoint (default: the one it holds)")
    network.add_argument(
        "--classifier", type=Path, metavar="DIR", help="the folder `classifier` that an earlier call wrote"
    )

    cli.add_argument("--weights", metavar="FILE", help="weights of --encoder (default: data/weights, else a download)")
    cli.add_argument("--head", "--heads", dest="heads", metavar="NAME[,NAME...]", help=HEAD)
    cli.add_argument("--reject", type=float, default=0.0, metavar="SHARE", help=REJECT)
    cli.add_argument("--reference", metavar="DIR", help=REFERENCE)
    cli.add_argument(
        "--out", type=Path, default=Path("answers"), metavar="DIR", help="folder of the answers (default: answers)"
    )
    cli.add_argument("--cache", metavar="DIR", help="folder of features (default: the user's cache; '' keeps none)")
    cli.add_argument("--device", "-d", default="0", help="number of a GPU, or cpu (default: 0, else the CPU)")
    cli.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's choice)")
    cli.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config keys to change, also as KEY=VALUE")
    args = cli.parse_intermixed_args(arguments)
    _refuse(args)

    from ..predict.command import Request, run

    complete = run(
        Request(
            query=args.query,
            out=args.out,
            support=args.support,
            depth=args.depth or 1,
            classifier=args.classifier,
            encoder=args.encoder or "",
            weights=args.weights or "",
            cfg=args.cfg,
            checkpoint=args.checkpoint and Path(args.checkpoint[0]),
            overrides=args.opts,
            heads=_heads("own" if args.heads is None else args.heads),
            reject=args.reject,
            reference=args.reference,
            cache=args.cache,
            device=args.device,
            threads=args.threads,
        )
    )
    if not complete:
        sys.exit(1)


def _heads(text: str) -> list[str]:
    """The methods that --heads lists."""
    names = [name for name in text.replace(" ", "").split(",") if name]
    if not names:
        raise UserError(f"--heads is {text!r}, which names no method; give one, such as RFS, or leave it out.")
    return names


def _refuse(args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together, and part the checkpoint from the overrides that follow it."""
    ways = {"--encoder": args.encoder, "--cfg": args.cfg, "--classifier": args.classifier}
    given = [option for option, value in ways.items() if value is not None]
    if not (len(given) == 1 or (args.checkpoint and not given)):
        what = f"{' and '.join(given)} are given" if given else "nothing says what answers"
        raise UserError(f"{what}; give one of --encoder, --checkpoint, --classifier.")
    if args.classifier is not None:
        unread = {"--support": args.support, "--depth": args.depth, "--head": args.heads, "--reference": args.reference}
        unread |= {"--checkpoint": args.checkpoint, "--weights": args.weights}
        for option, value in unread.items():
            if value is not None:
                raise UserError(f"{option} is given, but the folder {args.classifier} says it already; leave it out.")
        if args.opts:
            said = f"{args.opts[0]} is given, but the configuration of the folder {args.classifier} is fixed"
            raise UserError(f"{said}; leave it out.")
        return
    if args.support is None:
        raise UserError("--support is missing; give a folder with one folder of photos for each class.")
    if args.weights is not None and not args.encoder:
        raise UserError(f"--weights is {args.weights}, but --encoder is missing; give the encoder it was made for.")
    if args.encoder:
        if args.checkpoint:
            raise UserError(
                f"--checkpoint is {args.checkpoint[0]}, which goes with --cfg and not --encoder; leave it out."
            )
        return
    if not args.checkpoint:
        raise UserError(f"--cfg is {args.cfg}, but --checkpoint is missing; give the run folder of that config.")
    args.checkpoint, overrides = split_options(args.checkpoint)
    args.opts = overrides + args.opts
    if len(args.checkpoint) != 1:
        raise UserError(f"--checkpoint names {len(args.checkpoint)} files; give one run folder or checkpoint.")
