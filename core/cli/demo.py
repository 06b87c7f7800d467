"""A page in the browser: drop photographs into classes, drop a further one, and see the answer."""

from __future__ import annotations

import html
import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UserError
from .common import command_parser

EXAMPLES = """\
examples:
  {command} --checkpoint checkpoint/Glyphs_ProtoNet_N5K1_C4
  {command} --checkpoint RUN --classes 3 --port 7861
  {command} --encoder torchvision:mobilenet_v2

The page is served to this machine alone (127.0.0.1), until Ctrl-C. It needs gradio (requirements-extras.txt).
"""
HOST = "127.0.0.1"
LARGEST = "50mb"  # an uploaded photograph
FRAME = '<iframe title="answer" srcdoc="{}" style="width:100%;height:640px;border:0"></iframe>'


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and serve the page."""
    cli = command_parser("demo", __doc__, EXAMPLES)
    cli.add_argument("--cfg", metavar="FILE", help="YAML file of --checkpoint (default: the one it holds)")
    cli.add_argument("--checkpoint", "-c", metavar="RUN", help="run folder or checkpoint of a trained network")
    cli.add_argument(
        "--encoder",
        default="",
        metavar="NAME",
        help="a pretrained encoder in its place, torchvision:MODEL or timm:MODEL",
    )
    cli.add_argument("--head", default="own", metavar="NAME", help="method that answers (default: own, the network's)")
    cli.add_argument("--classes", type=int, default=5, metavar="N", help="number of classes on the page (default: 5)")
    cli.add_argument("--port", type=int, default=7860, help="of the page (default: 7860)")
    cli.add_argument("--device", "-d", default="0", help="number of a GPU, or cpu (default: 0, else the CPU)")
    args = cli.parse_args(arguments)
    if args.classes < 2:
        raise UserError(f"--classes is {args.classes}; give two or more.")
    if bool(args.encoder) == bool(args.checkpoint) or (args.encoder and args.cfg):
        raise UserError("What answers is not clear; give --checkpoint or --encoder.")
    _refuse_port(args.port)

    from ..log import start_log

    start_log().info("The page is being made; on a busy machine that takes a minute.")
    with tempfile.TemporaryDirectory(prefix="fiveway-demo-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # photographs do not outlive the page
        gradio = imported()
        from ..predict.demo import Demo
        from ..predict.estimator import FewShotClassifier

        network = {"encoder": args.encoder} if args.encoder else {"cfg": args.cfg, "checkpoint": args.checkpoint}
        demo = Demo(partial(FewShotClassifier, **network, head=args.head, device=args.device, reference=""))
        demo.open()
        serve(build(gradio, demo.answer, args.classes), args.port)


def _refuse_port(port: int) -> None:
    """Refuse a port that is none, or that cannot be opened."""
    if not 0 < port < 2**16:
        raise UserError(f"--port is {port}; give a number from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"--port is {port}, which cannot be opened ({error.strerror}); give another.") from error


def imported() -> Any:
    """The package gradio, told to report nothing to its makers."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise UserError("The demo needs the package gradio; run `python -m pip install gradio`.") from error
    return gradio


def serve(page: Any, port: int | None, **options: Any) -> Any:
    """Serve the page to this machine. It answers to 127.0.0.1 and localhost alone, so no other site can use it."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    local_names = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    kinds = {"share": False, "show_error": True, "max_file_size": LARGEST, "app_kwargs": {"middleware": [local_names]}}
    try:
        return page.launch(server_name=HOST, server_port=port, **kinds, **options)
    except OSError as error:  # another program took it meanwhile
        raise UserError(f"--port is {port}, which cannot be opened; give another.") from error


def build(gradio: Any, answer: Callable[..., tuple[dict[str, float], str]], classes: int) -> Any:
    """The page: a name and photographs for each class, a photograph in question, and the answer."""

    def classify(query: str | None, *names_and_files: Any) -> tuple[dict[str, float], str]:
        if not query:
            raise gradio.Error("Drop a photo in question first.", print_exception=False)
        names, files = names_and_files[:classes], names_and_files[classes:]
        given = [(name.strip(), [Path(path) for path in paths or []]) for name, paths in zip(names, files, strict=True)]
        try:
            probabilities, page = answer(given, Path(query))
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        return probabilities, FRAME.format(html.escape(page))

    with gradio.Blocks(title="FiveWay") as blocks:
        gradio.Markdown("# FiveWay\nDrop a few photos into two or more classes, then one in question.")
        names, files = [], []
        with gradio.Row():
            for number in range(classes):
                with gradio.Column(min_width=160):
                    names.append(gradio.Textbox(f"class {number + 1}", label="name"))
                    files.append(gradio.File(label="photos", file_count="multiple", file_types=["image"], height=140))
        with gradio.Row():
            # a file as it was dropped: gradio's image would be a copy in RGB
            query = gradio.File(label="photo in question", file_types=["image"], height=260)
            label = gradio.Label(label="answer", num_top_classes=classes)
        button, seen = gradio.Button("Which class is it?", variant="primary"), gradio.HTML()
        button.click(classify, [query, *names, *files], [label, seen], api_name="answer")
    return blocks
