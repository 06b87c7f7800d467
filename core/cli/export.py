"""Write a classifier as files that answer without FiveWay and PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .common import command_parser

EXAMPLES = """\
examples:
  {command} --classifier answers/classifier --out exported
  python exported/predict.py photo.jpg

--out gets encoder.onnx, head.npz, head.json and predict.py, which needs onnxruntime, numpy and Pillow alone. A head can
be written if its answers are linear in an image's vector: RFS, SimpleShot, ProtoNet and others.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and export."""
    cli = command_parser("export", __doc__, EXAMPLES)
    cli.add_argument(
        "--classifier", type=Path, required=True, metavar="DIR", help="the folder `classifier` of run_predict.py"
    )
    cli.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    args = cli.parse_args(arguments)

    from ..log import log_result, start_log
    from ..predict.export import export

    start_log()
    export(args.classifier, args.out)
    log_result(f"exported to {args.out}; try `python {args.out}/predict.py PHOTO`")
