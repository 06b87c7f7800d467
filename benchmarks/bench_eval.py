"""Evaluation of 5,000 ProtoNet episodes on CIFAR-FS test against the package easyfsl 1.5.0, in one process.

    python benchmarks/bench_eval.py [--rounds 3] [--threads 2] [--tasks 100] [--root data]

Prints one JSON line a row: medians of interleaved rounds. easyfsl need not be installed beside FiveWay: put it, with
pandas and matplotlib, into an environment of its own and name that environment's site-packages in PYTHONPATH.
Its loops read PNGs from a temporary folder, as its users' do; ours reads the packed split. Both start with weights in
memory. `--tasks` of easyfsl's 5,000 ordinary episodes are timed, ten times as many precomputed ones, and the
rest extrapolated.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import core  # noqa: F401, I001  (sets OpenMP's wait policy before torch is imported)
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from core.build.data import episode_sampler
from core.build.evaluation import build_evaluator
from core.build.networks import build_method
from core.build.data import Data
from core.data.pixels import Pixels
from core.engine.device import tune_allocator
from core.build.config import load_config

CONFIG = "configs/CIFAR-FS/ProtoNet_N5K1_C4.yaml"
EPISODES = 5000
COMPARED = 300


class Plain(nn.Module):
    """The same Conv4 as everybody writes it: NCHW, convolution, batch-norm, ReLU, pooling."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        blocks = [[m for m in backbone.modules() if isinstance(m, kind)] for kind in (nn.Conv2d, nn.BatchNorm2d)]
        layers = [part for conv, norm in zip(*blocks, strict=True) for part in (conv, norm, nn.ReLU(), nn.MaxPool2d(2))]
        self.layers = nn.Sequential(*layers).to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] to [n, D]."""
        return self.layers(images).flatten(1)


class Easyfsl:
    """easyfsl's two ways to evaluate, on PNGs of the test split."""

    def __init__(self, builder: Data, model: Plain, folder: Path) -> None:
        from easyfsl import datasets, methods, samplers, utils
        from torchvision import transforms

        if "data_source" not in inspect.signature(Sampler.__init__).parameters:
            Sampler.__init__ = lambda self, data_source=None: None  # its TaskSampler passes what torch took until 2.12
        split = builder.split("test")
        normalise = transforms.Normalize(split.manifest["mean"], split.manifest["std"])
        self._images = datasets.EasySet(
            write_pngs(split, folder), transform=transforms.Compose([transforms.ToTensor(), normalise])
        )
        self._features, self._sampler, self._utils = datasets.FeaturesDataset, samplers.TaskSampler, utils
        self._protonet, self._model = methods.PrototypicalNetworks, model

    def ordinary(self, tasks: int) -> float:
        """Seconds for EPISODES episodes of images, from `tasks` of them."""
        model = self._protonet(self._model)
        return timed(lambda: self._evaluate(model, self._images, tasks))[0] * EPISODES / tasks

    def precomputed(self, tasks: int) -> float:
        """Seconds to embed all images and evaluate EPISODES episodes of features, from `tasks` of them."""
        loader = DataLoader(self._images, batch_size=128)
        seconds, table = timed(
            lambda: self._features.from_dataframe(self._utils.predict_embeddings(loader, self._model))
        )
        return (
            seconds + timed(lambda: self._evaluate(self._protonet(nn.Identity()), table, tasks))[0] * EPISODES / tasks
        )

    def correct(self, builder: Data, episodes: int) -> list[int]:
        """Its correct answers in each of our own episodes, one task at a time on NCHW images."""
        pixels, shape = builder.pixels("test"), episode_sampler(builder, "test", 0).shape
        drawn, model = (
            episode_sampler(builder, "test", 0).draw(torch.arange(episodes)),
            self._protonet(self._model).eval(),
        )
        support_y, query_y = (torch.arange(shape.way).repeat_interleave(n) for n in (shape.shot, shape.query))
        correct = []
        for support, query in zip(drawn.support, drawn.query, strict=True):
            images = [pixels.gather(ids).contiguous() for ids in (support, query)]
            with torch.no_grad():
                correct.append(self._utils.evaluate_on_one_task(model, images[0], support_y, images[1], query_y)[0])
        return correct

    def _evaluate(self, model: nn.Module, dataset, tasks: int) -> float:
        sampler = self._sampler(dataset, n_way=5, n_shot=1, n_query=15, n_tasks=tasks)
        loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
        return self._utils.evaluate(model, loader, device="cpu", use_tqdm=False)


def write_pngs(split, folder: Path) -> Path:
    """Write a split as class folders of PNGs; returns easyfsl's description of them."""
    from PIL import Image

    for image, label, name in zip(split.images, split.labels.tolist(), split.names, strict=True):
        (folder / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / str(label) / f"{Path(name).stem}.png")
    specs = folder / "specs.json"
    roots = [str(folder / str(label)) for label in range(len(split.classes))]
    specs.write_text(json.dumps({"class_names": split.classes, "class_roots": roots}))
    return specs


def plain_encode(model: Plain, pixels: Pixels) -> None:
    """All images in NCHW batches of 128."""
    with torch.no_grad():
        for ids in torch.arange(len(pixels)).split(128):
            model(pixels.gather(ids).contiguous())


def timed(run):
    """Seconds and result."""
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def build(root: str, checkpoint: str) -> tuple[Data, nn.Module]:
    """The test split and a network: untrained weights cost as much as trained ones."""
    builder = Data(load_config(CONFIG, [f"DATASET.ROOT={root}"]).cfg, torch.device("cpu"))
    method = build_method(builder).eval()
    if checkpoint:
        method.load_state_dict(torch.load(checkpoint, weights_only=True)["method"])
    return builder, method


def speed_rows(args: argparse.Namespace, easyfsl: Easyfsl | None, builder: Data, method: nn.Module, plain: Plain):
    """Rounds of every way in turn, after one of warm-up."""
    evaluator, pixels = build_evaluator(builder, "test"), builder.pixels("test")
    seconds: dict[str, list[float]] = {}
    for number in range(args.rounds + 1):
        round_seconds = {f"ours_{part}": s for part, s in evaluator.run(method, EPISODES).seconds.items()}
        round_seconds["plain_encode"] = timed(lambda: plain_encode(plain, pixels))[0]
        if easyfsl:
            round_seconds["easyfsl_precomputed"] = easyfsl.precomputed(10 * args.tasks)
            round_seconds["easyfsl_ordinary"] = easyfsl.ordinary(args.tasks)
        for name, value in round_seconds.items() if number else ():
            seconds.setdefault(name, []).append(value)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    yield {"what": "seconds, 5,000 5-way 1-shot episodes", **{name: round(s, 3) for name, s in median.items()}}
    total, encode = median["ours_total"], median["ours_encode"]
    ratios = {"total_to_encode": total / encode, "plain_encode_to_ours": median["plain_encode"] / encode}
    ratios |= {f"{name}_to_ours": s / total for name, s in median.items() if name.startswith("easyfsl")}
    yield {"what": "ratios", **{name: round(ratio, 2) for name, ratio in ratios.items()}}


def equality_row(easyfsl: Easyfsl, builder: Data, method: nn.Module) -> dict:
    """Our correct answers against easyfsl's on the same weights and episodes."""
    ours = build_evaluator(builder, "test").run(method, COMPARED).correct.tolist()
    theirs = easyfsl.correct(builder, COMPARED)
    percent = [round(100 * sum(correct) / (COMPARED * 75), 4) for correct in (ours, theirs)]
    differing = sum(one != other for one, other in zip(ours, theirs, strict=True))
    return {
        "what": "accuracy on the same 300 episodes",
        "ours": percent[0],
        "easyfsl": percent[1],
        "differing": differing,
    }


def memory_row(args: argparse.Namespace) -> dict:
    """Peak resident memory of evaluations in processes of their own."""
    row = {"what": "peak memory, MB"}
    for episodes in (600, 100_000):
        command = [
            sys.executable,
            __file__,
            "--root",
            args.root,
            "--threads",
            str(args.threads),
            "--peak",
            str(episodes),
        ]
        row[f"{episodes}_episodes"] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return row


def peak(args: argparse.Namespace) -> int:
    """Evaluate here; returns the process's peak memory in MB."""
    builder, method = build(args.root, args.checkpoint)
    build_evaluator(builder, "test").run(method, args.peak)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def show(row: dict) -> None:
    """Print a row."""
    print(json.dumps(row), flush=True)


def main() -> None:
    """Print every row, and last the load of the machine."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--threads", type=int, default=2)
    cli.add_argument("--tasks", type=int, default=100, help="easyfsl's episodes that are timed")
    cli.add_argument("--root", default="data", help="folder of the prepared data sets")
    cli.add_argument("--checkpoint", default="", help="a ProtoNet Conv4 of CIFAR-FS (default: untrained weights)")
    cli.add_argument("--peak", type=int, default=0, help=argparse.SUPPRESS)
    args = cli.parse_args()
    torch.set_num_threads(args.threads)
    tune_allocator()
    if args.peak:
        show(peak(args))
        return
    load = os.getloadavg()
    builder, method = build(args.root, args.checkpoint)
    plain = Plain(build_method(builder).eval().backbone)
    plain.load_state_dict(Plain(method.backbone).state_dict())
    with tempfile.TemporaryDirectory() as folder:
        try:
            easyfsl = Easyfsl(builder, plain.eval(), Path(folder))
        except ImportError as error:
            show({"what": f"easyfsl 1.5.0 cannot be imported ({error}), so its rows are left out"})
            easyfsl = None
        for row in speed_rows(args, easyfsl, builder, method, plain):
            show(row)
        if easyfsl:
            show(equality_row(easyfsl, builder, method))
    show(memory_row(args))
    show({"torch": torch.__version__, "threads": args.threads, "load_before": load, "load_after": os.getloadavg()})


if __name__ == "__main__":
    main()
