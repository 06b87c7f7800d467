"""Heads that adapt to T tasks at once against plain loops over tasks, side by side in one process.

    python benchmarks/bench_inner.py [--rounds 5] [--threads 1]

Prints one JSON line a row: medians of interleaved rounds, and the ratio plain / ours for a task. The plain loops
take gradients of the weights by autograd, one task after another; that of iMAMLHead takes Newton's steps with
PyTorch's Hessian of the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.bench_adapt import interleaved, timed
from core.methods.anil import ANIL
from core.methods.e3bm import E3BM, centred
from core.methods.imaml import IMAMLHead
from core.methods.inner_loop import LearnedHead
from core.methods.mtl import MTL
from core.backbones.features import Features
from core.episode import DataInfo, Task
from core.ops import random

WAY, QUERIES, WIDTH = 5, 75, 640
PLAIN_TASKS = 4  # the plain loop is linear in the number of tasks


def task_of(tasks: int, shot: int) -> Task:
    """Tasks of random features."""
    seed, labels = torch.arange(tasks), torch.arange(WAY)
    features = {
        side: {"vector": random.normal(seed, side, (n, WIDTH)).relu()}
        for side, n in (("support", WAY * shot), ("query", QUERIES))
    }
    return Task(
        support=features["support"],
        support_y=labels.repeat_interleave(shot).expand(tasks, -1),
        query=features["query"],
        query_y=labels.repeat_interleave(QUERIES // WAY).expand(tasks, -1),
        way=WAY,
        shot=shot,
        class_ids=labels.expand(tasks, -1),
        seed=seed,
    )


def descended(method: LearnedHead, lr: float, steps: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Gradient descent on the weights of a linear head."""

    def logits(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        weight, bias = (p.detach().requires_grad_() for p in method.head.parameters())
        for _ in range(steps):
            of_weight, of_bias = torch.autograd.grad(
                F.cross_entropy(F.linear(support, weight, bias), labels), (weight, bias)
            )
            weight = (weight - lr * of_weight).detach().requires_grad_()
            bias = (bias - lr * of_bias).detach().requires_grad_()
        return F.linear(query, weight, bias)

    return logits


def newton(method: IMAMLHead, steps: int = 8) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Newton's steps with a line search on the coefficients of the supports, with their Hessian by autograd."""

    def logits(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        z, q = (F.pad(x, (0, 1), value=1.0).double() for x in (support, query))
        start = torch.cat([method.head.weight, method.head.bias[:, None]], 1).detach().double()
        gram, initial = z @ z.T, z @ start.T

        def height(a: Tensor) -> Tensor:
            rows = a.view(len(z), WAY)
            fit = F.cross_entropy(initial + gram @ rows, labels)
            return fit + method.penalty / 2 * (rows * (gram @ rows)).sum()

        a = torch.zeros(len(z) * WAY, dtype=z.dtype)
        for _ in range(steps):
            hessian = torch.autograd.functional.hessian(height, a)
            slope = torch.autograd.functional.jacobian(height, a)
            step = torch.linalg.lstsq(hessian, slope[:, None]).solution[:, 0]
            while height(a - step) > height(a) + 1e-12:
                step = step / 2
            a = a - step
        return (q @ start.T + q @ z.T @ a.view(len(z), WAY)).float()

    return logits


def ensemble(method: E3BM) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """E3BM's steps on the rows themselves."""

    def logits(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        z, q = centred(support), F.normalize(centred(query), dim=-1)
        rows = torch.stack([z[labels == n].mean(0) for n in range(WAY)])
        mean, unit = z.mean(0), F.normalize(z, dim=-1)
        total = torch.zeros(len(q), WAY)
        for step in range(len(method.rates.start)):
            at = rows.requires_grad_()
            with torch.enable_grad():
                loss = F.cross_entropy(method.sharpness * unit @ F.normalize(at, dim=-1).T, labels)
                (gradient,) = torch.autograd.grad(loss, at)
            context = torch.cat([mean, gradient.mean(0)])
            rate, weight = (
                p.start[step] + p.REACH * (p.map.weight[step] @ context + p.map.bias[step])
                for p in (method.rates, method.weights)
            )
            rows = (rows - rate * gradient).detach()
            total += weight * method.sharpness * q @ F.normalize(rows, dim=-1).T
        return total

    return logits


def row(
    name: str, method, plain: Callable[[Tensor, Tensor, Tensor], Tensor], tasks: int, shot: int, rounds: int
) -> dict:
    """Episodes a second of a method at test and of its plain loop."""
    task, few = task_of(tasks, shot), min(tasks, PLAIN_TASKS)
    parts = [x[:few] for x in (task.support["vector"], task.support_y, task.query["vector"])]
    with torch.no_grad():
        ours = timed(lambda: method(task))

        def looped() -> Tensor:
            with torch.enable_grad():
                return torch.stack([plain(*of_task) for of_task in zip(*parts, strict=True)]).detach()

        ours_s, plain_s, ours_found, plain_found = interleaved(ours, timed(looped), rounds)
    return {
        "what": name,
        "tasks": tasks,
        "shot": shot,
        "plain_episodes_per_s": round(few / plain_s, 1),
        "ours_episodes_per_s": round(tasks / ours_s, 1),
        "ratio": round(plain_s / few / (ours_s / tasks), 1),
        "largest_difference": float(f"{(ours_found[:few] - plain_found).abs().max():.1e}"),
    }


def main() -> None:
    """Print every row, and last the load of the machine."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--threads", type=int, default=1)
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    info = DataInfo(64, 0, way=WAY, features=WIDTH)
    anil, mtl, head, e3bm = (kind(Features(WIDTH, "native"), info).eval() for kind in (ANIL, MTL, IMAMLHead, E3BM))
    heads = {
        "ANIL, 10 steps": (anil, descended(anil, 0.01, 10)),
        "MTL, 100 steps": (mtl, descended(mtl, 0.01, 100)),
        "iMAMLHead": (head, newton(head)),
        "E3BM, 100 steps": (e3bm, ensemble(e3bm)),
    }
    for name, (method, plain) in heads.items():
        for tasks in (1, 16, 256):
            for shot in (1, 5):
                print(json.dumps(row(name, method, plain, tasks, shot, args.rounds)), flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": args.threads, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
