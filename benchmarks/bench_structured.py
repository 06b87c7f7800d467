"""DeepEMD's fine-tuning of class nodes, compiled a task at a time, against PyTorch's steps with all tasks together.

    python benchmarks/bench_structured.py [--rounds 3] [--threads 2]

Prints one JSON line a row: 5-way 5-shot episodes a second, 700 steps each, from made-up maps of 5x5, as medians of
interleaved rounds, and the ratio. Both call the same network simplex.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_emd import WAY, feature_maps, interleaved

import torch  # isort: skip

from core.engine.device import tune_allocator
from core.ops.adapt import HeadSGD
from core.ops.emd.solvers import simplex
from core.ops.emd.structured_layer import StructuredLayer

SHOT = 5


def episodes(tasks: int, channels: int, rounds: int) -> dict:
    """One row."""
    _, classes = feature_maps(25, channels, tasks)
    support = classes.repeat_interleave(SHOT, 1)
    support = support + 0.3 * torch.randn(support.shape, generator=torch.Generator().manual_seed(0))
    labels, seed = torch.arange(WAY).repeat_interleave(SHOT).expand(tasks, -1), torch.arange(tasks)
    layer = StructuredLayer(HeadSGD(weight_decay=0.0, lr=0.1), 12.5, simplex, weight_grad=True, centred=True)
    stepwise = replace(layer, solve=lambda *problem: simplex(*problem))  # not known to the compiled steps
    ways = {"compiled": layer, "torch": stepwise}
    runs = {name: lambda way=way: way.fine_tuned(classes, support, labels, seed) for name, way in ways.items()}
    seconds = interleaved(runs, rounds)
    rates = {name: round(tasks / each, 2) for name, each in seconds.items()}
    ratio = round(seconds["torch"] / seconds["compiled"], 1)
    what = f"episodes a second, {tasks} at once, {channels} channels"
    return {"what": what} | rates | {"ratio": ratio, "load": round(os.getloadavg()[0], 1)}


def main() -> None:
    """Print every row."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--threads", type=int, default=2)
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    tune_allocator()
    for tasks in (1, 16):
        for channels in (640, 64):
            print(json.dumps(episodes(tasks, channels, args.rounds)), flush=True)


if __name__ == "__main__":
    main()
