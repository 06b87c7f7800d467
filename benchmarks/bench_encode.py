"""What the evaluator's encoding of images costs beyond the network's own forward pass.

    python benchmarks/bench_encode.py [--cfg FILE KEY=VALUE ...] [--images 256] [--rounds 5] [--threads 1]

Prints one JSON line: images a second of the evaluator, which gathers 8-bit pixels, normalises them, encodes them and
keeps their features; of bare loops of the same folded network on resident normalised images, one for each number of
images at once; and the ratio to the fastest of them, in wall time and in CPU time. Medians of interleaved rounds, with
the load. The images are generated.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from core.backbones.blocks import fold
from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import build_evaluator
from core.build.networks import build_method
from core.engine import device
from core.methods.base import Method

DEFAULT = ["configs/miniImagenet/MetaBaseline_N5K1_R12.yaml", "DATASET.NAME=Glyphs", "DATASET.SIZE=84"]
AT_ONCE = (16, 64, 128)  # images of the bare loops


def ours(data: Data, method: Method, images: int) -> Callable[[], object]:
    """Encode so many images of the test split as an evaluation does, with an empty table of features."""
    evaluator = build_evaluator(data, "test")

    def encode() -> None:
        evaluator.source(method).prepare(torch.arange(images))

    return encode


@torch.no_grad()
def bare(data: Data, method: Method, images: int, at_once: int) -> Callable[[], object]:
    """The folded network alone."""
    network, pixels = fold(method), data.pixels("test").gather(torch.arange(images))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    bf16 = data.cfg.EVAL.PRECISION == "bf16"

    @torch.inference_mode()
    def encode() -> None:
        with torch.autocast(data.device.type, torch.bfloat16, enabled=bf16):
            for block in pixels.split(at_once):
                network.encode({"image": block})

    return encode


def rates(loops: dict[str, Callable[[], object]], images: int, rounds: int, where: torch.device) -> dict[str, dict]:
    """Images a second of wall and of CPU time."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for loop in loops.values():
        loop()
    for _ in range(rounds):
        for name, loop in loops.items():
            start = time.perf_counter(), time.process_time()
            loop()
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            seconds[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    medians = {name: map(statistics.median, zip(*values, strict=True)) for name, values in seconds.items()}
    return {
        name: dict(zip(("wall", "cpu"), (images / m for m in median), strict=True)) for name, median in medians.items()
    }


def main() -> None:
    """Measure one config."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--cfg", nargs="+", default=DEFAULT, help="a YAML file, then KEY=VALUE")
    cli.add_argument("--images", type=int, default=256)
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--device", default="cpu")
    args = cli.parse_args()
    where, _ = device.prepare(args.device, args.threads)
    data = Data(load_config(args.cfg[0], args.cfg[1:]).cfg, where)
    method = build_method(data).eval()
    block = data.cfg.EVAL.BATCH or device.images_at_once(data.image_size, where)
    images = -(-args.images // block) * block  # whole blocks: the evaluator fills up the last one
    loops = {"evaluator": ours(data, method, images)}
    loops |= {f"bare_{at_once}": bare(data, method, images, at_once) for at_once in sorted({block, *AT_ONCE})}
    measured = rates(loops, images, args.rounds, where)
    fastest = {kind: max(measured[name][kind] for name in measured if name != "evaluator") for kind in ("wall", "cpu")}
    print(
        json.dumps(
            {"cfg": args.cfg, "images": images, "block": block, "size": data.image_size}
            | {name: {kind: round(rate, 2) for kind, rate in of_name.items()} for name, of_name in measured.items()}
            | {"efficiency": {kind: round(measured["evaluator"][kind] / fastest[kind], 3) for kind in fastest}}
            | {"threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
        )
    )


if __name__ == "__main__":
    main()
