"""DN4's scores of cached maps against the plain expression, side by side in one process.

    python benchmarks/bench_local.py [--rounds 9] [--threads 2] [--training]

Prints one JSON line a row: medians of interleaved rounds in episodes a second, their ratio, CPU seconds an episode,
which a busy machine disturbs less, and the peak of memory above what the maps take. Episodes are 5-way 1-shot with
15 queries a class, maps of 64 channels: 5x5 (Conv4 at 84 px) and 19x19 (FourLayer_64F). Ours classifies several
episodes at once, as the evaluator does, gathered from a table of maps. The plain expression goes task by task: all
cosines as one matrix product of normalised descriptors, then `topk` (`amax` for k = 1).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401  (sets OpenMP's wait policy, which must precede torch)

# isort: split

import torch
import torch.nn.functional as F
from torch import Tensor

from core.engine.device import tune_allocator
from core.episode import Task
from core.ops.local_descriptors import descriptors, local_scores

WAY, QUERY, CHANNELS, IMAGES = 5, 15, 64, 300


def plain(query: Tensor, support: Tensor, k: int) -> Tensor:
    """Maps [T, Q, C, h, w] and [T, N, C, h, w] to scores [T, Q, N], one task after another."""
    scores = []
    for q, s in zip(query, support, strict=True):
        q, s = (F.normalize(descriptors(maps), dim=-1) for maps in (q, s))
        cosine = (q.flatten(0, 1) @ s.flatten(0, 1).T).view(*q.shape[:2], *s.shape[:2])
        best = cosine.amax(3, keepdim=True) if k == 1 else cosine.topk(k, dim=3).values
        scores.append(best.sum((1, 3)))
    return torch.stack(scores)


def ours(query: Tensor, support: Tensor, k: int) -> Tensor:
    """The same by `local_scores`."""
    labels = torch.arange(WAY).expand(len(query), -1)
    task = Task({}, labels, {}, labels, WAY, 1, labels, torch.zeros(len(query), dtype=torch.long))
    return local_scores(descriptors(query), descriptors(support), task, k)


WAYS = {"plain": plain, "ours": ours}


def episodes(side: int, tasks: int, k: int, training: bool) -> dict[str, Callable[[], Tensor]]:
    """Functions that score the same episodes, drawn from a table of maps."""
    torch.manual_seed(0)
    table = torch.randn(IMAGES, CHANNELS, side, side, requires_grad=training)
    ids = torch.randint(IMAGES, (tasks, WAY * (QUERY + 1)))

    def run(scores: Callable) -> Tensor:
        with torch.set_grad_enabled(training):
            maps = table[ids]
            logits = scores(maps[:, WAY:], maps[:, :WAY], k)
            if training:
                logits.square().sum().backward()
        return logits.detach()

    return {name: partial(run, scores) for name, scores in WAYS.items()}


def peak(name: str, threads: int, *case) -> float:
    """Resident memory above what it was before, in MB, at its largest; for a process of its own."""
    set_up(threads)
    run = episodes(*case)[name]
    before = memory("VmRSS")
    run()
    return memory("VmHWM") - before


def row(rounds: int, threads: int, *case) -> dict:
    """Speed and memory of both; `case` is side, tasks, k, training."""
    runs, measured, logits = episodes(*case), {name: [] for name in WAYS}, {}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            cpu, began = time.process_time(), time.perf_counter()
            logits[name] = run()
            measured[name].append((time.perf_counter() - began, time.process_time() - cpu))
    side, tasks, k, training = case
    result = {"descriptors": side**2, "k": k, "training": training}
    seconds = {name: statistics.median(s for s, _ in rows[1:]) for name, rows in measured.items()}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for name in WAYS:
            cpu = statistics.median(c for _, c in measured[name][1:])
            result[f"{name}_episodes_per_s"] = round(tasks / seconds[name], 1)
            result[f"{name}_cpu_ms"] = round(1e3 * cpu / tasks, 2)
            result[f"{name}_peak_mb"] = round(pool.submit(peak, name, threads, *case).result())
    result["ratio"] = round(seconds["plain"] / seconds["ours"], 1)
    result["largest_difference"] = float(f"{(logits['plain'] - logits['ours']).abs().max():.1e}")
    return result


def memory(field: str) -> float:
    """A field of /proc/self/status in MB."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def set_up(threads: int) -> None:
    """As the scripts do."""
    torch.set_num_threads(threads)
    tune_allocator()


def main() -> None:
    """Print every row, and last the load of the machine."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=9)
    cli.add_argument("--threads", type=int, default=2)
    cli.add_argument("--training", action="store_true", help="forward and backward of single episodes")
    args = cli.parse_args()
    set_up(args.threads)
    for side, tasks in ((5, 64), (19, 8)):
        for k in (1, 3):
            case = (side, 1 if args.training else tasks, k, args.training)
            print(json.dumps(row(args.rounds, args.threads, *case)), flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": args.threads, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
