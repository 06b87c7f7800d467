"""Ten minutes on the first machine that has a GPU: is it right there, and is it fast?

    python benchmarks/gpu_check.py [--device 0] [--seconds 20]

Prints one JSON: the tests marked gpu; predictions of five methods on 200 episodes of Glyphs on the GPU and on the CPU,
with the queries that differ and the smallest margin between the two likeliest classes among them (a tie counts as
none); the Earth Mover's Distance on both; training of a ResNet-12 at 84 pixels in fp32, tf32 and bf16 beside a bare
loop (`bench_train.py`), with the share of the card's dense rate in a matrix product of bfloat16; the peak of memory.
With `--device cpu` it runs without a GPU, which says that the script works and nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from bench_train import bare_step, built_stage, images_of, our_step, rates

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import build_evaluator
from core.build.networks import build_method
from core.engine import device
from core.ops.emd.distance import emd

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("ProtoNet", "NegMargin", "DN4", "DeepEMD", "FEAT")
EPISODES = 200
TIE = 1e-3  # of logits
GLYPHS = "configs/Glyphs/{}_N5K1_C4.yaml"
LARGE = ("configs/miniImagenet/RFS_N5K1_R12.yaml", ["DATASET.NAME=Glyphs", "DATASET.SIZE=84", "DATASET.EVAL_CROP=1"])
SIDE = 8192  # of the matrices that show the card's dense rate


def marked_tests() -> str:
    """The last line of the tests marked gpu."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return printed.strip().splitlines()[-1]


def logits_of(name: str, where: torch.device) -> torch.Tensor:
    """A method's logits on test episodes, of the network as it was initialised."""
    data = Data(load_config(GLYPHS.format(name)).cfg, where)
    torch.manual_seed(0)
    method, evaluator = build_method(data).to(where), build_evaluator(data, "test")
    source = evaluator.source(method)
    with torch.no_grad():
        tasks = evaluator.tasks(source, EPISODES, evaluator.sampler, source.method.needs)
        return torch.cat([source.method(task).float().cpu() for _, task in tasks])


def same_answers(name: str, where: torch.device) -> dict[str, Any]:
    """How many queries get another class on the device than on the CPU."""
    there, here = (logits_of(name, place) for place in (where, torch.device("cpu")))
    first, second = here.topk(2, dim=-1).values.unbind(-1)
    differing = there.argmax(-1) != here.argmax(-1)
    beyond_ties = differing & ((first - second) > TIE * first.abs().clamp(min=1))
    return {
        "queries": differing.numel(),
        "differing": int(differing.sum()),
        "beyond ties": int(beyond_ties.sum()),
        "largest difference": float((there - here).abs().max()),
    }


def same_transport(where: torch.device) -> float:
    """The largest difference of Earth Mover's Distances on the device and on the CPU."""
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(64, 25, 25, generator=generator, dtype=torch.float64)
    a, b = (torch.rand(64, 25, generator=generator, dtype=torch.float64).softmax(-1) for _ in range(2))
    here, there = (emd(cost.to(place), a.to(place), b.to(place))[0].cpu() for place in (torch.device("cpu"), where))
    return float((here - there).abs().max())


def dense_rate(where: torch.device) -> float:
    """10^12 operations a second of a product of bfloat16 matrices."""
    side = SIDE if where.type == "cuda" else 512
    x = torch.randn(side, side, device=where, dtype=torch.bfloat16)
    for repeats in (3, 20):  # warm, then timed
        start = time.perf_counter()
        for _ in range(repeats):
            x @ x
        if where.type == "cuda":
            torch.cuda.synchronize(where)
    return 2 * side**3 * repeats / (time.perf_counter() - start) / 1e12


def training(precision: str, where: torch.device, seconds: float) -> dict[str, Any]:
    """Images a second of training a ResNet-12 at 84 pixels, beside a bare loop."""
    from torch.utils.flop_counter import FlopCounterMode

    (cfg, keys), few = LARGE, [] if where.type == "cuda" else ["STAGE.base.BATCH=2"]
    _, stage = built_stage(cfg, [*keys, f"STAGE.base.PRECISION={precision}", *few], where)
    images = len(images_of(stage.streams[0].at(0, 0.0)))
    steps = {"trainer": our_step(stage, where), "bare": bare_step(stage, where)}
    speeds = rates(steps, images, 3, seconds, where)
    with FlopCounterMode(display=False) as counter:
        steps["bare"](0)
    rate = counter.get_total_flops() * speeds["trainer"]["wall"] / images / 1e12
    return {
        "images/s": round(speeds["trainer"]["wall"], 1),
        "of the bare loop": round(speeds["trainer"]["wall"] / speeds["bare"]["wall"], 3),
        "teraflops": round(rate, 2),
    }


def main() -> None:
    """Run every check and print what came out."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--device", default="0")
    cli.add_argument("--seconds", type=float, default=20.0, help="of each training")
    args = cli.parse_args()
    where, note = device.prepare(args.device, 0)
    report: dict[str, Any] = {"device": device.describe(where), "torch": torch.__version__, "note": note}
    report["tests"] = marked_tests()
    report["answers"] = {name: same_answers(name, where) for name in METHODS}
    report["transport"] = same_transport(where)
    report["dense teraflops"] = round(dense_rate(where), 2)
    report["training"] = {name: training(name, where, args.seconds) for name in ("fp32", "tf32", "bf16")}
    if where.type == "cuda":
        report["peak memory, GB"] = round(torch.cuda.max_memory_allocated(where) / 1e9, 2)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
