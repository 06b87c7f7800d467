"""Episodes a second of FEAT, FRN and DeepBDC from cached features, and FRN's errors against plain reconstruction.

    python benchmarks/bench_family.py [--rounds 5] [--threads 1]

Prints one JSON line a row. The plain reconstruction of each task is the form of equation 10: the d x d matrix
(S^T S + lambda I)^-1 S^T S of each class, in float32, applied to all query descriptors; it and ours are measured in
turn, and the medians compared. Features are random: timings do not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import torch
from torch import Tensor

from core.backbones.resnet12 import ResNet12
from core.episode import DataInfo, Task
from core.methods.deepbdc import MetaDeepBDC, STLDeepBDC
from core.methods.feat import FEAT
from core.methods.frn import FRN
from core.ops.ridge import reconstruction_error

WAY, QUERY = 5, 15


def plain_error(query: Tensor, rows: Tensor, penalty: Tensor, scale: Tensor) -> Tensor:
    """As `reconstruction_error`, one task after another."""
    errors = []
    for q, s, p in zip(query, rows, penalty, strict=True):
        gram = s.transpose(1, 2) @ s
        factor = torch.linalg.cholesky(gram + p[:, None, None] * torch.eye(gram.shape[-1]))
        hat = scale * torch.cholesky_solve(gram, factor)
        error = (q.flatten(0, 1) @ hat - q.flatten(0, 1)).square().sum(-1)
        errors.append(error.view(len(s), *q.shape[:2]).mean(2).T)
    return torch.stack(errors)


def reconstruction(width: int, side: int, shot: int, tasks: int, rounds: int) -> dict:
    """Seconds a task of both."""
    query = torch.randn(tasks, WAY * QUERY, side**2, width) / width**0.5
    rows = torch.randn(tasks, WAY, shot * side**2, width) / width**0.5
    penalty = torch.full((tasks, WAY), shot * side**2 / width)
    given = (query, rows, penalty, torch.tensor(1.0))
    pairs = [(timed(reconstruction_error, *given), timed(plain_error, *given)) for _ in range(rounds + 1)][1:]
    ours, plain = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
    return {
        "what": "FRN's reconstruction errors",
        "d": width,
        "r": side**2,
        "shot": shot,
        "plain_tasks_per_s": round(tasks / plain, 1),
        "ours_tasks_per_s": round(tasks / ours, 1),
        "ratio": round(plain / ours, 2),
        "largest_difference": float(f"{(pairs[-1][0][1] - pairs[-1][1][1]).abs().max():.1e}"),
    }


def episodes(name: str, method, features: str, shape: tuple[int, ...], shot: int, tasks: int, rounds: int) -> dict:
    """Episodes a second of a method's `forward`."""
    labels = torch.arange(WAY)
    task = Task(
        support={features: torch.randn(tasks, WAY * shot, *shape)},
        support_y=labels.repeat_interleave(shot).expand(tasks, -1),
        query={features: torch.randn(tasks, WAY * QUERY, *shape)},
        query_y=labels.repeat_interleave(QUERY).expand(tasks, -1),
        way=WAY,
        shot=shot,
        class_ids=labels.expand(tasks, -1),
        seed=torch.arange(tasks),
    )
    seconds = [timed(method.eval(), task)[0] for _ in range(rounds + 1)][1:]
    rate = tasks / statistics.median(seconds)
    return {
        "what": f"{name}, ResNet-12 at 84 px",
        "shot": shot,
        "tasks_at_once": tasks,
        "episodes_per_s": round(rate, 1),
    }


def timed(run, *given):
    """Seconds and result of a call."""
    began = time.perf_counter()
    result = run(*given)
    return time.perf_counter() - began, result


@torch.no_grad()
def main() -> None:
    """Print every row, and last the load of the machine."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--threads", type=int, default=1)
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    for width, side, shot, tasks in ((640, 5, 1, 4), (640, 5, 5, 4), (64, 5, 1, 32), (64, 5, 5, 32), (640, 2, 1, 32)):
        print(json.dumps(reconstruction(width, side, shot, tasks, args.rounds)), flush=True)
    info, maps = DataInfo(64, 84), ResNet12(84, "native", pools=3)
    for shot in (1, 5):
        rows = (
            ("FEAT", FEAT(ResNet12(84, "native"), info), "vector", (640,), 128),
            ("FRN", FRN(ResNet12(84, "native"), info, shrink=True), "map", (640, 5, 5), 4),
            ("MetaDeepBDC, 640 channels", MetaDeepBDC(maps, info), "map", (640, 10, 10), 1),
            ("STLDeepBDC, 128 channels", STLDeepBDC(maps, info, reduce=128), "map", (128, 10, 10), 32),
        )
        for name, method, features, shape, tasks in rows:
            print(json.dumps(episodes(name, method, features, shape, shot, tasks, args.rounds)), flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": args.threads, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
