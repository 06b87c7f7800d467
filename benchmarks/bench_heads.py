"""Heads of the methods of the comparison tables against the plain loop over tasks, side by side in one process.

    python benchmarks/bench_heads.py [--rounds 5] [--threads 1] [--width 1600] [--only R2D2]

Prints one JSON line a row: episodes a second of CPU time of a head's `forward` at 1, 16 and 256 tasks at once, on
made-up features of 5-way tasks with 15 queries a class, beside the same answers task by task as a reader of the paper
would write them, and how far the answers to the first task are apart. Medians of interleaved rounds; the plain loop
runs on a few tasks, as its time is linear in them.

Another head is one more line in HEADS. qpth, the solver that MetaOptNet was published with, is compared where it is
installed, in an environment of its own (see bench_qpth.py).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_emd import interleaved
from plain_inner import descended, ensemble, newton

import torch  # isort: skip
import torch.nn.functional as F
from sklearn.svm import SVC
from torch import Tensor, nn

from core.backbones.blocks import Backbone
from core.engine.device import tune_allocator
from core.episode import DataInfo, Task
from core.registry import METHODS, import_all

WAY, QUERIES, SIDE = 5, 15, 5
AT_ONCE = (1, 16, 256)


class GivenFeatures(Backbone):
    """Stands for a network whose features are given."""

    map_size = 1

    def __init__(self, width: int) -> None:
        super().__init__("flatten")
        self.channels = width


@dataclass(frozen=True)
class Head:
    """A method, its answers to one task written plainly, and how many times faster it is to be."""

    method: str
    against: str
    plain: Callable[[nn.Module, Task], Any]  # of a task with T = 1
    target: float | None = None
    arguments: tuple[tuple[str, Any], ...] = ()
    maps: bool = False
    few: int = 4  # tasks of the plain loop

    def compared(self, shot: int, tasks: int, width: int, rounds: int) -> dict[str, Any]:
        """One row."""
        side = SIDE if self.maps else 1
        channels = min(width, 64) if self.maps else width
        method = METHODS[self.method](GivenFeatures(channels), DataInfo(64, 84, WAY, shot), **dict(self.arguments))
        task = made_up(tasks, shot, channels, side, self.maps)
        alone = [made_up(1, shot, channels, side, self.maps, seed) for seed in range(self.few)]
        runs = {"ours": lambda: method.eval()(task), "plain": lambda: [self.plain(method, one) for one in alone]}
        seconds = interleaved(runs, rounds, time.process_time)
        ours, plain = tasks / seconds["ours"], self.few / seconds["plain"]
        answers = self.plain(method, alone[0])
        same_form = isinstance(answers, Tensor)  # scikit-learn's machine is another one
        return {
            "what": f"{self.method} against {self.against}",
            "shot": shot,
            "tasks_at_once": tasks,
            "ours_episodes_per_s": round(ours, 1),
            "plain_episodes_per_s": round(plain, 1),
            "ratio": round(ours / plain, 1),
            "target": self.target,
            "largest_difference": float(f"{(method(alone[0])[0] - answers).abs().max():.0e}") if same_form else None,
            "load": round(os.getloadavg()[0], 1),
        }


def made_up(tasks: int, shot: int, width: int, side: int, maps: bool, seed: int = 0) -> Task:
    """T tasks of rectified features around class means, half of their variance within a class."""
    draw = torch.Generator().manual_seed(seed)
    shape = (width, side, side) if maps else (width,)
    means = torch.randn(tasks, WAY, 1, *shape, generator=draw)

    def features(count: int) -> Tensor:
        noise = torch.randn(tasks, WAY, count, *shape, generator=draw)
        return ((means + noise).flatten(1, 2) / 2).relu()

    name, labels = "map" if maps else "vector", torch.arange(WAY)
    return Task(
        support={name: features(shot)},
        support_y=labels.repeat_interleave(shot).expand(tasks, -1),
        query={name: features(QUERIES)},
        query_y=labels.repeat_interleave(QUERIES).expand(tasks, -1),
        way=WAY,
        shot=shot,
        class_ids=labels.expand(tasks, -1),
        seed=torch.arange(tasks),
    )


def given(task: Task, bias: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Supports [n, d], their one-hot labels and the queries of one task."""
    x, q = task.support["vector"][0], task.query["vector"][0]
    if bias:
        x, q = F.pad(x, (0, 1), value=1.0), F.pad(q, (0, 1), value=1.0)
    return x, F.one_hot(task.support_y[0], WAY).float(), q


def ridge_in_d(method: Any, task: Task) -> Tensor:
    """The linear system in the numbers of a row."""
    bias = method.name == "R2D2"
    x, y, q = given(task, bias)
    penalty = method.penalty * (len(x) if bias else 1)
    return method.scale * (q @ torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1]), x.T @ y))


def ridge_in_n(method: Any, task: Task) -> Tensor:
    """The linear system in the supports."""
    bias = method.name == "R2D2"
    x, y, q = given(task, bias)
    penalty = method.penalty * (len(x) if bias else 1)
    return method.scale * (q @ x.T @ torch.linalg.solve(x @ x.T + penalty * torch.eye(len(x)), y))


def reweighted(method: Any, task: Task) -> Tensor:
    """A regression for each class, one after another."""
    x, y, q = given(task, bias=True)
    gram, columns = x @ x.T, []
    for target in y.T:
        scores = torch.zeros(len(x))
        for _ in range(method.iterations):
            mu = scores.sigmoid()
            s = (mu * (1 - mu)).clamp(min=1e-6)
            dual = torch.linalg.solve(gram + torch.diag(method.penalty / s), scores + (target - mu) / s)
            scores = gram @ dual
        columns.append(q @ (x.T @ dual))
    return torch.stack(columns, 1)


def sklearn_svc(method: Any, task: Task) -> Any:
    """scikit-learn's machine, one against one."""
    x, _, q = given(task)
    return SVC(C=method.bound, kernel="linear").fit(x.numpy(), task.support_y[0].numpy()).decision_function(q.numpy())


def qpth_svm(method: Any, task: Task) -> Tensor:
    """MetaOptNet's program in n N unknowns by qpth."""
    from qpth.qp import QPFunction

    x, y, q = (part.double() for part in given(task))
    n, size = len(x), len(x) * WAY
    quadratic = torch.kron(x @ x.T, torch.eye(WAY)) + torch.eye(size)
    sums = torch.kron(torch.eye(n), torch.ones(1, WAY)).double()
    h, none = method.bound * y.flatten(), torch.zeros(n).double()
    duals = QPFunction(verbose=-1, maxIter=15)(quadratic, -y.flatten(), torch.eye(size).double(), h, sums, none)
    return q @ x.T @ duals.view(n, WAY)


def projected(method: Any, task: Task) -> Tensor:
    """TapNet with a full singular value decomposition."""
    means, (_, _, q) = task.support["vector"][0].view(WAY, -1, task.support["vector"].shape[2]).mean(1), given(task)
    table, offsets = method.references.weight, method.references.bias
    free, rows = list(range(len(table))), []
    for c in means:
        rows.append(max(free, key=lambda j, c=c: float(2 * (table[j] @ c + offsets[j]) - table[j].square().sum())))
        free.remove(rows[-1])
    phi = table[rows]
    errors = F.normalize(WAY * phi - phi.sum(0), dim=1) - F.normalize(means, dim=1)
    basis = torch.linalg.svd(errors).Vh[WAY:].T
    return 2 * offsets[rows] - torch.cdist(q @ basis, phi @ basis).square()


def position_by_position(method: Any, task: Task) -> Tensor:
    """Dense classification with a cosine for each position."""
    classes = task.support["map"][0].unflatten(0, (WAY, -1)).mean((1, 3, 4))
    positions = task.query["map"][0].flatten(2).unbind(2)
    return method.scale * torch.stack([F.cosine_similarity(r[:, None], classes, dim=2) for r in positions]).mean(0)


HEADS = [
    Head("R2D2", "torch.linalg.solve in d unknowns", ridge_in_d, target=100, few=1),
    Head("R2D2", "torch.linalg.solve in n unknowns", ridge_in_n, few=32),
    Head("MetaOptNet-RR", "torch.linalg.solve in d unknowns", ridge_in_d, target=100, few=1),
    Head("MetaOptNet-RR", "torch.linalg.solve in n unknowns", ridge_in_n, few=32),
    Head("LR-D2", "a loop over classes", reweighted),
    Head("MetaOptNet-SVM", "scikit-learn's SVC", sklearn_svc, target=5, few=16),
    Head("TapNet", "a singular value decomposition", projected),
    Head("DC", "a cosine for each position", position_by_position, maps=True),
    Head("ANIL", "autograd, 10 steps", descended(0.01, 10)),
    Head("MTL", "autograd, 100 steps", descended(0.01, 100)),
    Head("iMAMLHead", "Newton's steps with the Hessian by autograd", newton, few=2),
    Head("E3BM", "autograd, 100 steps", ensemble, few=2),
]
if importlib.util.find_spec("qpth"):
    HEADS.append(Head("MetaOptNet-SVM", "qpth", qpth_svm, target=20))


@torch.no_grad()
def main() -> None:
    """Print every row."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--width", type=int, default=1600, help="numbers of a feature; maps have 64 channels at most")
    cli.add_argument("--only", default="", help="the heads whose name contains this")
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    tune_allocator()
    import_all("core.methods")
    for head in (head for head in HEADS if args.only in f"{head.method} {head.against}"):
        for shot in (1, 5):
            for tasks in AT_ONCE:
                print(json.dumps(head.compared(shot, tasks, args.width, args.rounds)), flush=True)


if __name__ == "__main__":
    main()
