"""The Earth Mover's Distance layer against OpenCV's solver in a Python loop, side by side in one process.

    python benchmarks/bench_emd.py [--rounds 9] [--threads 2]

Prints one JSON line a row: medians of interleaved rounds, and the ratio other / ours. Ratios are targets on two idle
cores. The plain loop is what DeepEMD's code does: one cv2.EMD a (query, class) pair, the similarity multiplied by the
flow in place, and autograd behind it. The naive head materialises the broadcast of queries against classes. The
comparison with qpth is in bench_qpth.py.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401  (sets OpenMP's wait policy before torch is imported)

import cv2  # isort: skip
import numpy as np  # isort: skip
import torch  # isort: skip
import torch.nn.functional as F
from torch import Tensor

from core.backbones.conv4 import Conv4
from core.engine.device import tune_allocator
from core.episode import DataInfo, Task
from core.methods.deepemd import DeepEMD
from core.ops.emd.distance import emd_logits
from core.ops.emd.node_similarity import node_similarity
from core.ops.emd.solvers import simplex

WAY, QUERIES, TEMPERATURE = 5, 75, 12.5


def feature_maps(nodes: int, channels: int, tasks: int = 1) -> tuple[Tensor, Tensor]:
    """Made-up queries [T, 75, P, C] and classes [T, 5, P, C]: parts of a class over a common background, rectified."""
    draw = torch.Generator().manual_seed(0)
    parts, background = torch.randn(WAY, 4, channels, generator=draw), torch.randn(6, channels, generator=draw)

    def maps(classes: Tensor) -> Tensor:
        shape = (len(classes), nodes)
        part = parts[classes[:, None], torch.randint(0, 4, shape, generator=draw)]
        back = background[torch.randint(0, 6, shape, generator=draw)]
        made = torch.where((torch.rand(shape, generator=draw) < 0.5)[..., None], part, back)
        return F.leaky_relu(made + 0.8 * torch.randn(made.shape, generator=draw), 0.1)

    labels = torch.arange(WAY)
    query = torch.stack([maps(labels.repeat_interleave(QUERIES // WAY)) for _ in range(tasks)])
    return query, torch.stack([maps(labels) for _ in range(tasks)])


def plain_logits(similarity: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[Q, N, P, P] and weights to [Q, N], one problem after another; the similarity is overwritten."""
    n = similarity.shape[-1]
    rows, columns = (n * weight / weight.sum(-1, keepdim=True) for weight in (rows, columns))
    costs = (1 - similarity).detach().numpy()
    for q in range(len(costs)):
        for c in range(WAY):
            a, b = (w[q, c].detach().numpy()[:, None] + 1e-5 for w in (rows, columns))
            flow = cv2.EMD(a / a.sum() * n, b / b.sum() * n, cv2.DIST_USER, costs[q, c])[2]
            similarity[q, c, :, :] = similarity[q, c, :, :] * torch.from_numpy(flow)
    return similarity.sum((-1, -2)) * TEMPERATURE / n


def naive_compare(query: Tensor, classes: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """As `compare` for one task [Q, P, C] and [N, P, C], through tensors of every pair of nodes."""
    q, c = (x - x.mean(-1, keepdim=True) for x in (query, classes))
    similarity = F.cosine_similarity(q[:, None, :, None], c[None, :, None], dim=-1)
    rows = (query[:, None] * classes.mean(1)[None, :, None]).sum(-1).relu() + 1e-3
    columns = (classes[None] * query.mean(1)[:, None, None]).sum(-1).relu() + 1e-3
    return similarity, (rows, columns)


def slopes(loss: Tensor, *inputs: Tensor) -> None:
    """Run a backward pass."""
    torch.autograd.grad(loss.square().mean(), inputs, allow_unused=True)


def layer(nodes: int, rounds: int) -> dict:
    """Forward and backward of 375 problems."""
    query, classes = feature_maps(nodes, 64)
    similarity, weights = node_similarity(query, classes, True)
    leaves = [x.detach().requires_grad_() for x in (similarity, *weights)]
    plain = [x[0].detach().requires_grad_() for x in leaves]
    seconds = interleaved(
        {
            "ours": lambda: slopes(emd_logits(leaves[0], tuple(leaves[1:])), *leaves),
            "plain": lambda: slopes(plain_logits(plain[0] * 1.0, *plain[1:]), *plain),
        },
        rounds,
    )
    return row(f"layer forward + backward, 375 problems, n = {nodes}", seconds, target=12 if nodes == 25 else 18)


def solver(nodes: int, rounds: int) -> dict:
    """The linear programs alone, against bare calls of cv2.EMD on prepared arrays, one after another and in a pool."""
    query, classes = feature_maps(nodes, 64)
    similarity, weights = node_similarity(query, classes, True)
    cost = (1 - similarity).flatten(0, 2).double().contiguous()
    a, b = (nodes * (w / w.sum(-1, keepdim=True)).flatten(0, 2).double().contiguous() for w in weights)
    b = b * (a.sum(1) / b.sum(1))[:, None]
    costs, rows, columns = (x.float().numpy() for x in (cost, a[:, :, None], b[:, :, None]))

    def bare(i: int) -> float:
        return cv2.EMD(rows[i], columns[i], cv2.DIST_USER, costs[i])[0]

    count = range(len(costs))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        seconds = interleaved(
            {
                "ours": lambda: simplex(cost, a, b),
                "plain": lambda: [bare(i) for i in count],
                "plain_pool": lambda: list(pool.map(bare, count, chunksize=32)),
            },
            rounds,
        )
    value = (cost * simplex(cost, a, b)[0]).sum((1, 2)).numpy()
    error = np.abs(np.array([bare(i) * nodes for i in count]) - value).max()
    made = row(f"linear programs alone, 375 problems, n = {nodes}", seconds, target=4 if nodes == 25 else None)
    return made | {"us_a_problem": round(seconds["ours"] / len(costs) * 1e6, 1), "opencv_error": float(f"{error:.1e}")}


def head(rounds: int) -> dict:
    """Map, weights and programs of an episode with ResNet-12's channels, forward and backward; the naive head once."""
    query, classes = (x.requires_grad_() for x in feature_maps(25, 640))

    def ours() -> None:
        slopes(emd_logits(*node_similarity(query, classes, True)), query, classes)

    def naive() -> None:
        similarity, weights = naive_compare(query[0], classes[0])
        slopes(plain_logits(similarity * 1.0, *weights), query, classes)

    seconds = interleaved({"ours": ours, "plain": naive}, rounds)
    return row("whole head forward + backward, 640 channels, n = 25", seconds, target=20)


def memory() -> dict:
    """Peak memory that each way adds to a process of its own."""
    megabytes = {}
    for what in ("layer", "head", "naive"):
        command = [sys.executable, __file__, "--peak", what]
        megabytes[f"{what}_mb"] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    ratio = round(megabytes["naive_mb"] / max(megabytes["head_mb"], 1), 1)
    return {
        "what": "memory added, 375 problems, n = 25",
        **megabytes,
        "ratio": ratio,
        "target": 30,
        "layer_target_mb": 20,
    }


def peak(what: str) -> int:
    """MB that one forward and backward adds, after a small one has loaded and compiled everything."""

    def run(nodes: int) -> None:
        query, classes = (x.requires_grad_() for x in feature_maps(nodes, 640))
        if what == "naive":
            similarity, weights = naive_compare(query[0], classes[0])
            slopes(plain_logits(similarity * 1.0, *weights), query, classes)
        elif what == "head":
            slopes(emd_logits(*node_similarity(query, classes, True)), query, classes)

    leaves = [x.detach().requires_grad_() for x in _flat(*node_similarity(*feature_maps(25, 64), True))]
    slopes(emd_logits(leaves[0][:, :2], (leaves[1][:, :2], leaves[2][:, :2])), *leaves)
    run(2)
    layer_alone = lambda: slopes(emd_logits(leaves[0], tuple(leaves[1:])), *leaves)  # noqa: E731
    return added_mb(layer_alone if what == "layer" else lambda: run(25))


def added_mb(run: Callable) -> int:
    """Peak memory that a run adds to the process."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident_mb("VmRSS")
    run()
    return round(resident_mb("VmHWM") - before)


def resident_mb(what: str) -> float:
    """A line of this process's status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def _flat(similarity: Tensor, weights: tuple[Tensor, Tensor]) -> list[Tensor]:
    return [similarity, *weights]


def episodes(channels: int, shot: int, rounds: int, tasks: int) -> dict:
    """Episodes a second from cached maps of 5x5."""
    draw = torch.Generator().manual_seed(0)
    method = DeepEMD(Conv4(84, "native", width=channels), DataInfo(64, 84)).eval()
    labels = torch.arange(WAY)
    query, classes = (x.transpose(2, 3).unflatten(3, (5, 5)).contiguous() for x in feature_maps(25, channels, tasks))
    support = classes.repeat_interleave(shot, 1)
    support = support + 0.3 * torch.randn(support.shape, generator=draw)
    task = Task(
        support={"map": support},
        support_y=labels.repeat_interleave(shot).expand(tasks, -1),
        query={"map": query},
        query_y=labels.repeat_interleave(QUERIES // WAY).expand(tasks, -1),
        way=WAY,
        shot=shot,
        class_ids=labels.expand(tasks, -1),
        seed=torch.arange(tasks),
    )
    with torch.no_grad():
        seconds = interleaved({"ours": lambda: method(task)}, rounds)
    target = 2 if shot > 1 else {640: 100, 64: 150}[channels]
    return {
        "what": f"episodes a second, 5-way {shot}-shot, {channels} channels",
        "ours": round(tasks / seconds["ours"], 1),
        "target": target,
    }


def plain_episodes(channels: int, rounds: int) -> dict:
    """An episode in the plain loop: at 1 shot the similarities are given, at 5 with 70 of 700 steps counted tenfold.

    The map of a step is our matrix product: the broadcast would take most of the time.
    """
    query, classes = feature_maps(25, channels)
    similarity, weights = node_similarity(query, classes, True)
    nodes = torch.nn.Parameter(classes[0].clone())
    sgd = torch.optim.SGD([nodes], lr=0.1, momentum=0.9, dampening=0.9)

    def scored() -> None:
        with torch.no_grad():
            plain_logits(similarity[0].clone(), *(w[0] for w in weights))

    def tuned() -> None:
        for step in range(70):
            support = query[0, 4 * step % 72 :][:4]
            similarity, weights = node_similarity(support[None], nodes[None], True)
            sgd.zero_grad()
            logits = plain_logits(similarity[0] * 1.0, *(w[0] for w in weights))
            F.cross_entropy(logits, torch.arange(4)).backward()
            sgd.step()

    seconds = interleaved({"scored": scored, "tuned": tuned}, rounds)
    return {
        "what": f"episodes a second of the plain loop, {channels} channels",
        "1_shot": round(1 / seconds["scored"], 1),
        "5_shot": round(1 / (seconds["scored"] + 10 * seconds["tuned"]), 2),
    }


def row(what: str, seconds: dict[str, float], target: int | None) -> dict:
    """Milliseconds and ratios."""
    made = {"what": what} | {f"{name}_ms": round(1e3 * s, 2) for name, s in seconds.items()}
    ratios = {f"{name}_to_ours": round(s / seconds["ours"], 1) for name, s in seconds.items() if name != "ours"}
    return made | ratios | ({"target": target} if target else {}) | {"load": round(os.getloadavg()[0], 1)}


def interleaved(
    runs: dict[str, Callable], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each, measured in turn after a round of warm-up.

    Before each, what the other left is given back to the system: the naive head's gigabytes would take a third of a
    second from whoever comes next. Then it runs once, to have its own memory.
    """
    libc, seconds = ctypes.CDLL(None), {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            libc.malloc_trim(0)
            run()
            began = clock()
            run()
            if number:
                seconds[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Print every row, and last the load of the machine."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=9)
    cli.add_argument("--threads", type=int, default=2)
    cli.add_argument("--peak", default="", help=argparse.SUPPRESS)
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        print(peak(args.peak))
        return
    tune_allocator()
    load = os.getloadavg()

    def show(made: dict) -> None:
        print(json.dumps(made), flush=True)

    for nodes in (9, 13, 25):
        show(layer(nodes, args.rounds))
        show(solver(nodes, args.rounds))
    show(head(max(3, args.rounds // 2)))
    show(memory())
    for channels in (640, 64):
        show(episodes(channels, 1, args.rounds, tasks=16))
        show(episodes(channels, 5, 1, tasks=16))
        show(plain_episodes(channels, 3))
    show({"torch": torch.__version__, "opencv": cv2.__version__, "threads": args.threads, "load": load})


if __name__ == "__main__":
    main()
