"""Transductive heads on many tasks at once against their authors' steps written plainly, one task after another.

    python benchmarks/bench_transductive.py [--rounds 5] [--threads 1] [--width 640] [--heads LaplacianShot TIM]

Prints one JSON line a row: medians of interleaved rounds, tasks a second of CPU time of both, their ratio, and the
share of queries that both label alike. 5-way 1-shot, 75 queries, features in five overlapping clusters. The plain forms
go about one task as the authors' code does: NumPy, SciPy and scikit-learn for LaplacianShot, SciPy and PyTorch for
iLPC, PyTorch for the others, with Adam on autograd's gradient for TIM by gradient descent, and for PT-MAP Sinkhorn's
algorithm until no row moves by more than 1e-6. They need scikit-learn.
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
sys.path.insert(0, str(Path(__file__).resolve().parent))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import torch
from torch import Tensor

from core.backbones.features import Features
from core.engine.device import tune_allocator
from core.episode import DataInfo, Task
from core.methods.alpha_tim import AlphaTIM
from core.methods.bdcspn import BDCSPN
from core.methods.epnet import EPNet
from core.methods.ilpc import ILPC
from core.methods.laplacianshot import LaplacianShot
from core.methods.ptmap import PTMAP
from core.methods.tim import TIM
from core.ops import random
from plain_transductive import (
    QUERIES,
    WAY,
    plain_adm,
    plain_bdcspn,
    plain_descent,
    plain_epnet,
    plain_ilpc,
    plain_laplacianshot,
    plain_ptmap,
    shannon,
    tsallis,
)

PLAIN_TASKS = 4  # the plain loop is linear in the number of tasks


def drawn(tasks: int, width: int) -> Task:
    """Tasks of features as a ReLU leaves them."""
    seed = torch.arange(tasks)
    centres = random.normal(seed, "centres", (WAY, width))
    support_y, query_y = torch.arange(WAY).expand(tasks, -1), torch.arange(WAY).repeat_interleave(QUERIES)

    def around(labels: Tensor, tag: str) -> Tensor:
        noise = random.normal(seed, tag, (labels.shape[-1], width))
        return (centres[:, labels.flatten()[: labels.shape[-1]]] + 3 * noise).relu()

    return Task(
        support={"vector": around(support_y, "support")},
        support_y=support_y,
        query={"vector": around(query_y[None], "query")},
        query_y=query_y.expand(tasks, -1),
        way=WAY,
        shot=1,
        class_ids=support_y,
        seed=seed,
        base={"vector": random.normal(torch.tensor(0), "base", (64, width)).abs()},
    )


def heads(width: int) -> dict[str, tuple]:
    """Our method and the plain form of each row."""
    backbone, info = Features(width, "native"), DataInfo(64, 0, features=width)
    return {
        "BD-CSPN": (BDCSPN(backbone, info), plain_bdcspn),
        "LaplacianShot": (LaplacianShot(backbone, info), plain_laplacianshot),
        "TIM": (TIM(backbone, info), plain_adm),
        "TIM-gd": (TIM(backbone, info, solver="gd", steps=1000), plain_descent(shannon, (0.1, 1.0, 0.1))),
        "AlphaTIM": (AlphaTIM(backbone, info), plain_descent(tsallis, (1.0, 1.0, 1.0))),
        "PT-MAP": (PTMAP(backbone, info), plain_ptmap),
        "iLPC": (ILPC(backbone, info), plain_ilpc),
        "EPNet": (EPNet(backbone, info), plain_epnet),
    }


def seconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """The CPU time of a call, and its result."""
    began = time.process_time()
    result = run()
    return time.process_time() - began, result


@torch.no_grad()
def row(name: str, ours, plain, tasks: int, width: int, rounds: int) -> dict:
    """Both ways in turns, after a round of warm-up."""
    task = drawn(tasks, width)
    few = min(tasks, PLAIN_TASKS)
    pairs = [
        (seconds(lambda: ours(task)), seconds(lambda: torch.stack([plain(task, t) for t in range(few)])))
        for _ in range(rounds + 1)
    ][1:]
    ours_s, plain_s = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
    labels = [pairs[-1][side][1][:few].argmax(-1) for side in (0, 1)]
    return {
        "head": name,
        "tasks": tasks,
        "d": width,
        "plain_tasks_per_s": round(few / plain_s, 1),
        "ours_tasks_per_s": round(tasks / ours_s, 1),
        "ratio": round(plain_s / few / (ours_s / tasks), 1),
        "same_labels": round(float((labels[0] == labels[1]).double().mean()), 3),
        "accuracy": round(float((labels[0] == task.query_y[:few]).double().mean()), 3),
    }


def main() -> None:
    """Print every row, and last the load of the machine."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--width", type=int, default=640)
    cli.add_argument("--tasks", type=int, nargs="+", default=[1, 16, 256])
    cli.add_argument("--heads", nargs="+", default=[])
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    tune_allocator()
    for name, (ours, plain) in heads(args.width).items():
        if name in (args.heads or [name]):
            for tasks in args.tasks:
                print(json.dumps(row(name, ours.eval(), plain, tasks, args.width, args.rounds)), flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": args.threads, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
