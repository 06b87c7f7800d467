"""Adaptation of many tasks against the plain loop over tasks, side by side in one process.

    python benchmarks/bench_adapt.py [--rounds 5] [--threads 1]

Prints one JSON line a row: medians of interleaved rounds, and the ratio plain / ours. The plain loop for heads
is torch.optim.SGD on an nn.Parameter, one task after another, on features that are normalised once. For MAML the
question is whether `vmap` over tasks beats our loop. Logistic regression stands against scikit-learn, task by task.
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
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from core.backbones.conv4 import Conv4
from core.episode import DataInfo, Task
from core.methods.maml import MAML
from core.ops import random
from core.ops.adapt import HeadSGD, fit_cosine_head
from core.ops.logistic import fit_logistic

PLAIN_TASKS = 4  # the plain loop is linear in the number of tasks


def plain_heads(support: Tensor, labels: Tensor, start: Tensor, seed: Tensor, scale: float, sgd: HeadSGD) -> Tensor:
    """The same heads by torch.optim.SGD, task by task and step by step."""
    z = F.normalize(support, dim=-1)
    order = random.permutation(random.hashes(seed, "head-passes", sgd.passes), "order", z.shape[1])
    heads = []
    for task in range(len(z)):
        weight = nn.Parameter(start[task].clone())
        optimizer = torch.optim.SGD([weight], sgd.lr, sgd.momentum, sgd.dampening, sgd.weight_decay)
        for step in order[task]:
            for batch in step.split(sgd.batch):
                optimizer.zero_grad()
                cosine = z[task, batch] @ F.normalize(weight, dim=-1).T
                F.cross_entropy(scale * cosine, labels[task, batch]).backward()
                optimizer.step()
        heads.append(weight.detach())
    return torch.stack(heads)


def heads(width: int, shot: int, rounds: int) -> dict:
    """Seconds a task for both ways of fine-tuning a head."""
    tasks, way = 256, 5
    seed = torch.arange(tasks)
    support = random.normal(seed, "support", (way * shot, width)).relu()
    labels = torch.arange(way).repeat_interleave(shot).expand(tasks, -1)
    start = (random.uniform(seed, "head", (way, width)) * 2 - 1) / width**0.5
    few = slice(0, PLAIN_TASKS)
    ours = timed(lambda: fit_cosine_head(support, labels, start, seed, 5.0, HeadSGD()).weight)
    plain = timed(lambda: plain_heads(support[few], labels[few], start[few], seed[few], 5.0, HeadSGD()))
    ours_s, plain_s, ours_found, plain_found = interleaved(ours, plain, rounds)
    error = (F.normalize(ours_found[few], dim=-1) - F.normalize(plain_found, dim=-1)).abs().max()
    return {
        "what": "fine-tuned cosine head",
        "d": width,
        "shot": shot,
        "plain_tasks_per_s": round(PLAIN_TASKS / plain_s, 1),
        "ours_tasks_per_s": round(tasks / ours_s, 1),
        "ratio": round(plain_s / PLAIN_TASKS / (ours_s / tasks), 1),
        "largest_difference": float(f"{error:.1e}"),
    }


def logistic(width: int, supports: int, rounds: int) -> dict:
    """Tasks a second of logistic regression at the same answers: ours, and scikit-learn's L-BFGS with its defaults."""
    from sklearn.linear_model import LogisticRegression

    tasks, way = 64, 5
    seed = torch.arange(tasks)
    common = random.normal(seed, "common", (1, width))
    support = F.normalize((common + 0.7 * random.normal(seed, "support", (supports, width))).relu(), dim=-1)
    labels = torch.arange(way).repeat_interleave(supports // way).expand(tasks, -1)
    arrays = [(z.double().numpy(), y.numpy()) for z, y in zip(support, labels, strict=True)][:PLAIN_TASKS]
    ours = timed(lambda: fit_logistic(support, labels, way).logits(support))
    plain = timed(lambda: [LogisticRegression(max_iter=1000).fit(*pair).predict_proba(pair[0]) for pair in arrays])
    ours_s, plain_s, ours_found, plain_found = interleaved(ours, plain, rounds)
    theirs = torch.stack([torch.from_numpy(p) for p in plain_found])
    error = (ours_found[:PLAIN_TASKS].double().softmax(-1) - theirs).abs().max()
    return {
        "what": "logistic regression",
        "d": width,
        "supports": supports,
        "plain_tasks_per_s": round(PLAIN_TASKS / plain_s, 1),
        "ours_tasks_per_s": round(tasks / ours_s, 1),
        "ratio": round(plain_s / PLAIN_TASKS / (ours_s / tasks), 1),
        "largest_difference": float(f"{error:.1e}"),
    }


def maml(rounds: int) -> dict:
    """Seconds of a training step of 4 tasks, by our loop and by vmap."""
    backbone = Conv4(32, "native", width=32, norm="batch")
    method = MAML(backbone, DataInfo(64, 32, way=5), steps=5)
    for module in method.modules():  # vmap refuses operations in place
        if hasattr(module, "inplace"):
            module.inplace = False
    labels = torch.arange(5)
    task = Task(
        support={"image": torch.randn(4, 5, 3, 32, 32)},
        support_y=labels.expand(4, -1),
        query={"image": torch.randn(4, 75, 3, 32, 32)},
        query_y=labels.repeat_interleave(15).expand(4, -1),
        way=5,
        shot=1,
        class_ids=labels.expand(4, -1),
        seed=torch.arange(4),
    )
    loop = timed(lambda: method.loss(task).value.backward())
    batched = timed(lambda: F.cross_entropy(mapped(method, task).flatten(0, 1), task.query_y.flatten()).backward())
    loop_s, vmap_s, _, _ = interleaved(loop, batched, rounds)
    return {
        "what": "MAML training step, 4 tasks, second order",
        "loop_s": round(loop_s, 3),
        "vmap_s": round(vmap_s, 3),
        "ratio": round(vmap_s / loop_s, 2),
    }


def mapped(method: MAML, task: Task) -> Tensor:
    """MAML's logits with the tasks side by side under vmap."""
    start = {name: p for name, p in method.named_parameters()}

    def run(weights: dict[str, Tensor], images: Tensor) -> Tensor:
        backbone = {n.removeprefix("backbone.layers."): w for n, w in weights.items() if n.startswith("backbone.")}
        maps = functional_call(method.backbone.layers, backbone, (images,))
        return F.linear(maps.flatten(1), weights["head.weight"], weights["head.bias"])

    def one(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        weights = start
        for _ in range(method.steps):
            slope = grad(lambda w: F.cross_entropy(run(w, support), labels))(weights)
            weights = {name: w - method.inner_lr * slope[name] for name, w in weights.items()}
        return run(weights, query)

    return vmap(one)(task.support["image"], task.support_y, task.query["image"])


def timed(run):
    """A function that runs and returns (seconds, result)."""

    def measure():
        began = time.perf_counter()
        result = run()
        return time.perf_counter() - began, result

    return measure


def interleaved(one, other, rounds: int):
    """Median seconds of both, measured in turn after a round of warm-up, and their last results."""
    pairs = [(one(), other()) for _ in range(rounds + 1)][1:]
    medians = [statistics.median(pair[i][0] for pair in pairs) for i in (0, 1)]
    return *medians, pairs[-1][0][1], pairs[-1][1][1]


def main() -> None:
    """Print every row, and last the load of the machine."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--threads", type=int, default=1)
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    for width in (256, 640, 1600):
        for shot in (1, 5):
            print(json.dumps(heads(width, shot, args.rounds)), flush=True)
    for supports in (5, 25, 125):
        print(json.dumps(logistic(640, supports, args.rounds)), flush=True)
    print(json.dumps(maml(args.rounds)), flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": args.threads, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
