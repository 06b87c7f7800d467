"""What several processes give: measured here, and by a model where there are more devices than here.

    python benchmarks/bench_ranks.py [--cfg configs/CIFAR-FS/ProtoNet_N5K1_C4.yaml KEY=VALUE ...] [--processes 1 2]
        [--rounds 5] [--steps 10]
    python benchmarks/bench_ranks.py --model 1 8 64 --step-ms 60 --latency-us 20 --gigabytes 200 [--cfg ...]

The first form trains the first stage of a config on the CPU, one thread a process, in rounds that take the numbers of
processes in turn. It prints a JSON line: images a second (medians), the ratio to the first number, and what the model
says of it from the step of one process, the latency and the bandwidth measured in the same run. A step has the same
tasks or images for any number of processes, which share them. `apart` is the ratio for as many processes that run side
by side and exchange nothing: what the machine's caches and memory allow. `cpu` is the CPU time of all processes for
a step, as a multiple of that of one process.

The model: a step of W processes takes

    t(W) = t(1) / W + exchanges * latency * ceil(log2 W) + 2 (W - 1) / W * bytes / bandwidth

with two exchanges for each batch-norm that has running statistics, one forward and one backward, and that of the
gradients, of so many bytes. The second form prints t(W), images a second beside one
device's, and the share of a step that is exchange: for the same step on all devices, and for a step that grows with
them (`each`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from bench_train import DEFAULT, built_stage, images_of, our_step
from torch import nn

from core import ranks
from core.engine import device
from core.engine.synced_norm import sync_norms

SMALL_EXCHANGES = 50


def network(stage) -> tuple[int, int]:
    """The exchanges of a step, and the bytes of the gradients."""
    norms = (m for m in stage.method.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    synced = sum(norm.track_running_stats for norm in norms)
    trained = sum(p.numel() * p.element_size() for p in stage.method.parameters() if p.requires_grad)
    return 2 * synced + 1, trained


def modelled(count: int, step: float, exchanges: int, size: int, latency: float, bandwidth: float) -> float:
    """Seconds of a step of `count` processes, whose own share takes `step` seconds."""
    if count == 1:
        return step
    return step + exchanges * latency * math.ceil(math.log2(count)) + 2 * (count - 1) / count * size / bandwidth


def work(cfg: str, keys: list[str], steps: int) -> dict[str, float]:
    """Train some steps as one of several processes; what the first one says."""
    everyone = ranks.join()
    where, _ = device.prepare("cpu", 1)
    _, stage = built_stage(cfg, keys, where)
    images = len(images_of(stage.streams[0].at(0, 0.0))) * everyone.count
    if not everyone.alone:
        sync_norms(stage.method)
    step = our_step(stage, where)
    for number in range(3):
        step(number)
    everyone.wait()
    start, cpu_start = time.perf_counter(), time.process_time()
    for number in range(3, 3 + steps):
        step(number)
    of_cpu = (time.process_time() - cpu_start) / steps
    everyone.wait()
    of_step = (time.perf_counter() - start) / steps
    exchanges, size = network(stage)
    said = {"images": images, "step": of_step, "cpu": of_cpu, "exchanges": exchanges, "bytes": size}
    return said | (link(everyone, size) if not everyone.alone else {})


def link(everyone: ranks.Ranks, size: int) -> dict[str, float]:
    """Seconds of a small sum over the processes, and bytes a second of a large one."""
    seconds = []
    for length in (64, size // 4):
        everyone.wait()
        start = time.perf_counter()
        for _ in range(SMALL_EXCHANGES):
            everyone.add(torch.zeros(length))
        seconds.append((time.perf_counter() - start) / SMALL_EXCHANGES)
    sent = 2 * (everyone.count - 1) / everyone.count * size
    return {"latency": seconds[0], "bandwidth": sent / max(seconds[1] - seconds[0], 1e-9)}


def start(count: int, arguments: list[str], apart: bool = False) -> dict[str, float]:
    """Run so many processes, which share their steps unless they are apart; what the first one printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    together["WORLD_SIZE"] = "1" if apart else str(count)
    command = [sys.executable, __file__, "--worker", *arguments]
    started = [
        subprocess.Popen(command, env=os.environ | together | {"RANK": str(n)}, stdout=subprocess.PIPE, text=True)
        for n in ([0] * count if apart else range(count))
    ]
    printed = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process failed")
    return json.loads(printed[0].strip().splitlines()[-1])


def measured(args: argparse.Namespace, arguments: list[str]) -> dict[str, object]:
    """Rounds of all numbers of processes, and what the model says of them."""
    said: dict[int, list[dict[str, float]]] = {count: [] for count in args.processes}
    apart: dict[int, list[float]] = {count: [] for count in args.processes if count > 1}
    for _ in range(args.rounds):
        for count in args.processes:
            said[count].append(start(count, arguments))
        for count, steps in apart.items():
            steps.append(start(count, arguments, apart=True)["step"])
    median = {n: {key: statistics.median(s[key] for s in of) for key in of[0]} for n, of in said.items()}
    first = median[args.processes[0]]
    line: dict[str, object] = {"images": first["images"], "load": os.getloadavg()[0]}
    for count, of in median.items():
        row = {"images_per_second": round(of["images"] / of["step"], 1), "ratio": round(first["step"] / of["step"], 2)}
        if count > 1 and args.processes[0] == 1:
            link_of = (of["latency"], of["bandwidth"])
            model = modelled(count, first["step"] / count, int(of["exchanges"]), int(of["bytes"]), *link_of)
            row |= {"model": round(first["step"] / model, 2), "latency_us": round(1e6 * of["latency"])}
            row |= {"gigabytes_per_second": round(of["bandwidth"] / 1e9, 2)}
        if count > 1:
            row |= {"apart": round(count * first["step"] / statistics.median(apart[count]), 2)}
            row |= {"cpu": round(count * of["cpu"] / first["cpu"], 2)}
        line[str(count)] = row
    return line


def predicted(args: argparse.Namespace, cfg: str, keys: list[str]) -> None:
    """Print what the model says."""
    _, stage = built_stage(cfg, keys, torch.device("cpu"))
    exchanges, size = network(stage)
    images = len(images_of(stage.streams[0].at(0, 0.0)))
    step, link_of = args.step_ms / 1e3, (args.latency_us / 1e6, args.gigabytes * 1e9)
    print(f"{exchanges} exchanges a step, {size / 1e6:.1f} MB of gradients, {images} images in {args.step_ms:g} ms")
    print("devices   same step: times one   exchange   each as much: times one   exchange")
    for count in args.model:
        shared = modelled(count, step / count, exchanges, size, *link_of)
        grown = modelled(count, step, exchanges, size, *link_of)
        of_shared, of_grown = 1 - step / count / shared, 1 - step / grown
        print(f"{count:7}{step / shared:23.1f}{of_shared:11.0%}{count * step / grown:26.1f}{of_grown:11.0%}")


def main() -> None:
    """Measure, or print the model."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--cfg", nargs="+", default=[DEFAULT], help="a YAML file, then KEY=VALUE")
    cli.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--steps", type=int, default=10)
    cli.add_argument("--model", nargs="+", type=int, help="numbers of devices")
    cli.add_argument("--step-ms", type=float, default=60.0, help="of one device")
    cli.add_argument("--latency-us", type=float, default=20.0, help="of a small exchange between two")
    cli.add_argument("--gigabytes", type=float, default=200.0, help="a second, of each device's link")
    cli.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = cli.parse_args()
    cfg, *keys = args.cfg
    if args.worker:
        print(json.dumps(work(cfg, keys, args.steps)), flush=True)
    elif args.model:
        predicted(args, cfg, keys)
    else:
        arguments = ["--steps", str(args.steps), "--cfg", cfg, *keys]
        print(json.dumps({"cfg": cfg, **measured(args, arguments)}))


if __name__ == "__main__":
    main()
