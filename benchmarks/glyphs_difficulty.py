"""How hard Glyphs is without training: nearest neighbour on pixels, and untrained Conv4s.

    python benchmarks/glyphs_difficulty.py [--split test] [--episodes 2000]

Prints one JSON line a row; `make demo` gives the trained figure.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import torch

from core.backbones.conv4 import Conv4
from core.build.data import open_split
from core.data.episodes import EpisodeSampler, Shape
from core.data.pixels import Pixels
from core.engine.evaluator import Evaluator
from core.episode import DataInfo, Features
from core.methods.protonet import ProtoNet


class PixelNeighbour(ProtoNet):
    """At 1 shot the nearest prototype is the nearest neighbour; the features are the pixels."""

    def encode(self, pixels: Features) -> Features:
        """Flattened pixels."""
        return {"vector": pixels["image"].flatten(-3)}


def main() -> None:
    """Evaluate both on the same episodes."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--root", default="data")
    cli.add_argument("--split", default="test", choices=("val", "test"))
    cli.add_argument("--episodes", type=int, default=2000)
    args = cli.parse_args()
    split = open_split(args.root, "Glyphs", args.split)
    sampler = EpisodeSampler(split, Shape(5, 1, 15), seed=0)
    evaluator = Evaluator(split, sampler, Pixels(split, torch.device("cpu")))
    info = DataInfo(n_base=0, image_size=split.size)

    def report(what: str, method: ProtoNet) -> None:
        print(
            json.dumps(
                {"what": what, "split": args.split, "accuracy": str(evaluator.run(method, args.episodes).interval)}
            )
        )

    report("nearest neighbour on pixels", PixelNeighbour(Conv4(split.size, "native"), info))
    for seed in range(3):
        torch.manual_seed(seed)
        report(f"untrained Conv4, seed {seed}", ProtoNet(Conv4(split.size, "native"), info))


if __name__ == "__main__":
    main()
