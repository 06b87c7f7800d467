"""Squared distances of queries and class vectors: the expanded square, and the same behind a common centre.

    python benchmarks/bench_distances.py [--rounds 25] [--threads 1]

Prints one JSON line a shape: medians of interleaved rounds in milliseconds, and the largest error against float64 in
units of the largest distance, with the answers that it turned. Vectors are like those behind a ReLU: positive, so that
they have much in common, with queries further from the classes than these from each other.
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

import core  # noqa: F401  (sets OpenMP's wait policy, which must precede torch)

# isort: split

import torch
from torch import Tensor

from core.ops.distances import squared_euclidean

SHAPES = ((8, 75, 5, 1600), (64, 75, 5, 640), (64, 75, 5, 256), (1, 300, 20, 1600), (16, 75, 64, 640))  # T, Q, N, D


def expanded(query: Tensor, vectors: Tensor) -> Tensor:
    """|q|^2 - 2 <q, v> + |v|^2 as it stands."""
    norms = query.square().sum(-1, keepdim=True) + vectors.square().sum(-1)[:, None]
    return torch.baddbmm(norms, query, vectors.transpose(1, 2), alpha=-2).clamp(min=0)


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"expanded": expanded, "centred": squared_euclidean}


def row(shape: tuple[int, int, int, int], rounds: int) -> dict:
    """Times and errors of both for one shape."""
    tasks, queries, way, width = shape
    torch.manual_seed(0)
    query, vectors = torch.rand(tasks, queries, width) + 1, 0.3 * torch.rand(tasks, way, width) + 1.35
    exact = torch.stack(
        [(q[:, None] - v).square().sum(-1) for q, v in zip(query.double(), vectors.double(), strict=True)]
    )
    result: dict = {"shape": shape}
    for name, training in (("forward_ms", False), ("forward_backward_ms", True)):
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds + 1):
            for key, distance in WAYS.items():
                pair = [part.clone().requires_grad_(training) for part in (query, vectors)]
                began = time.perf_counter()
                value = distance(*pair)
                if training:
                    value.sum().backward()
                seconds[key].append(time.perf_counter() - began)
        result[name] = {key: round(1e3 * statistics.median(times[1:]), 3) for key, times in seconds.items()}
    answers = {key: distance(query, vectors) for key, distance in WAYS.items()}
    result["error"] = {key: float(f"{(v - exact).abs().max() / exact.max():.1e}") for key, v in answers.items()}
    result["turned"] = {key: int((v.argmin(-1) != exact.argmin(-1)).sum()) for key, v in answers.items()}
    return result


def main() -> None:
    """Print every row, and last the load of the machine."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=25)
    cli.add_argument("--threads", type=int, default=1)
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    for shape in SHAPES:
        print(json.dumps(row(shape, args.rounds)), flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": args.threads, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
