"""What training costs beyond the network's own forward and backward pass.

    python benchmarks/bench_train.py [--cfg configs/CIFAR-FS/ProtoNet_N5K1_C4.yaml ... KEY=VALUE ...] [--rounds 9]
        [--seconds 18] [--threads 1] [--device cpu] [--loader]

Prints one JSON line for each config: images a second of the trainer's own steps, of a bare loop of the same network on
resident random images of the same shape (forward, mean of squares, backward, step of the same optimiser), and their
ratio, in wall time and in CPU time; medians of interleaved rounds, with the load. With `--loader` also the same
episodes from files: PIL, torchvision's transforms and a DataLoader, as few-shot code usually feeds a network. The last
line says where the time of a step goes. Without prepared data give DATASET.NAME=Glyphs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from core.build.config import load_config
from core.build.data import Data
from core.build.training import build_trainer
from core.engine import device
from core.engine.precision import encoder
from core.engine.stage_run import Stage
from core.engine.steps import Epoch
from core.episode import Batch
from core.report.run import RunFolder

EPISODES = 30  # whose images are written to files
DEFAULT = "configs/CIFAR-FS/ProtoNet_N5K1_C4.yaml"
Step = Callable[[int], None]


class Silent:
    """Stands in for the progress bar."""

    def step(self) -> None:
        """Nothing is shown."""


def built_stage(cfg: str, keys: list[str], where: torch.device) -> tuple[Data, Stage]:
    """The first stage of a config, on its device, in training mode."""
    data = Data(load_config(cfg, keys).cfg, where)
    trainer = build_trainer(data, RunFolder(Path(tempfile.gettempdir()), writes=False), "bench", Path("unused"))
    stage = trainer._stages[0]
    stage.method.to(where)
    device.allow_tf32(stage.precision == "tf32")
    return data, stage


def our_step(stage: Stage, where: torch.device) -> Step:
    """A step of the trainer."""
    optimizer, epoch = stage.recipe.optimizer(stage.method.param_groups(stage.recipe.lr)), Epoch(0, where)
    stage.method.train()
    return lambda number: epoch._take_one(stage, optimizer, number)


def images_of(item: object) -> torch.Tensor:
    """All images of a step, [n, 3, H, W]."""
    if isinstance(item, Batch):
        return item.inputs["image"]
    return torch.cat([side["image"].flatten(0, 1) for side in (item.support, item.query)])


def bare_step(stage: Stage, where: torch.device) -> Step:
    """Forward, backward and update of the same network on images that are there already."""
    shape = sum((images_of(stream.at(0, 0.0)) for stream in stage.streams[:1]), 0).shape
    images = {"image": torch.randn(shape, device=where).contiguous(memory_format=torch.channels_last)}
    optimizer = stage.recipe.optimizer([{"params": list(stage.method.backbone.parameters()), "lr": 1e-6}])
    encode = encoder(stage.method, stage.precision, where)
    stage.method.train()

    def step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        sum(value.square().mean() for value in encode(images).values()).backward()
        optimizer.step()

    return step


class Files(Dataset):
    """Images of a split as PNG files, read with PIL and torchvision."""

    def __init__(self, data: Data, folder: Path, numbers: list[int]) -> None:
        split = data.split("train")
        self.folder, mean, std = folder, split.manifest["mean"], split.manifest["std"]
        for number in numbers:
            Image.fromarray(split.images[number]).save(folder / f"{number}.png")
        flips = [transforms.RandomCrop(data.image_size, padding=4), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose([*flips, transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __getitem__(self, number: int) -> torch.Tensor:
        return self.transform(Image.open(self.folder / f"{number}.png").convert("RGB"))


def drawn_images(stage: Stage) -> list[list[int]]:
    """The images of some training episodes."""
    drawn = stage.streams[0]._sampler.draw(torch.arange(EPISODES))
    return torch.cat([drawn.support, drawn.query], 1).tolist()


def loader_step(data: Data, stage: Stage, where: torch.device, folder: Path) -> Step:
    """A step whose images come from files by a DataLoader with one worker; method, loss and optimiser are ours."""
    episodes = drawn_images(stage)
    files = Files(data, folder, sorted({number for episode in episodes for number in episode}))
    loader = iter(DataLoader(files, batch_sampler=episodes * 1000, num_workers=1))
    optimizer = stage.recipe.optimizer(stage.method.param_groups(stage.recipe.lr))
    stage.method.train()

    def step(number: int) -> None:
        item = stage.streams[0].at(0, 0.0)
        images = next(loader).to(where)
        supports = item.support["image"].shape[1]
        item.support["image"], item.query["image"] = images[None, :supports], images[None, supports:]
        loss = stage.method.loss(item.encoded(stage.method.encode)).value
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def rates(steps: dict[str, Step], images: int, rounds: int, seconds: float, where: torch.device) -> dict[str, dict]:
    """Images a second of wall and of CPU time: medians of interleaved rounds."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for step in steps.values():
        for number in range(3):
            step(number)
    for _ in range(rounds):
        for name, step in steps.items():
            wall, cpu, count = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - wall < seconds / rounds or count < 2:
                step(count + 3)
                count += 1
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            used = (time.perf_counter() - wall, time.process_time() - cpu)
            measured[name].append((images * count / used[0], images * count / used[1]))
    columns = {name: list(zip(*values, strict=True)) for name, values in measured.items()}
    return {name: dict(zip(("wall", "cpu"), map(statistics.median, c), strict=True)) for name, c in columns.items()}


def parts_of_a_step(stage: Stage, where: torch.device, repeats: int = 10) -> dict[str, float]:
    """Share of a step's time in data, forward with the loss, backward and update."""
    optimizer = stage.recipe.optimizer(stage.method.param_groups(stage.recipe.lr))
    spent = dict.fromkeys(("data", "forward", "backward", "update"), 0.0)

    def timed(name: str, work: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = work()
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        spent[name] += time.perf_counter() - start
        return result

    encode = encoder(stage.method, stage.precision, where)
    for number in range(repeats):
        items = timed("data", lambda n=number: [stream.at(n, 0.0) for stream in stage.streams])
        loss = timed("forward", lambda i=items: sum(stage.method.loss(x.encoded(encode)).value for x in i))
        optimizer.zero_grad(set_to_none=True)
        timed("backward", loss.backward)
        timed("update", optimizer.step)
    total = sum(spent.values())
    return {name: round(value / total, 3) for name, value in spent.items()} | {
        "step_ms": round(1e3 * total / repeats, 2)
    }


def main() -> None:
    """Measure every config."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--cfg", nargs="+", default=[DEFAULT], help="YAML files, then KEY=VALUE")
    cli.add_argument("--rounds", type=int, default=9)
    cli.add_argument("--seconds", type=float, default=18.0, help="of each row")
    cli.add_argument("--threads", type=int, default=1)
    cli.add_argument("--device", default="cpu")
    cli.add_argument("--loader", action="store_true", help="also from files, with a DataLoader")
    args = cli.parse_args()
    keys = [word for word in args.cfg if "=" in word]
    where, _ = device.prepare(args.device, args.threads)
    for cfg in (word for word in args.cfg if word not in keys):
        data, stage = built_stage(cfg, keys, where)
        images = len(images_of(stage.streams[0].at(0, 0.0)))
        with tempfile.TemporaryDirectory() as folder:
            steps = {"trainer": our_step(stage, where), "bare": bare_step(stage, where)}
            if args.loader:
                steps["loader"] = loader_step(data, stage, where, Path(folder))
            speeds = rates(steps, images, args.rounds, args.seconds, where)
        line = {"cfg": cfg, "images": images, "size": data.image_size, "precision": stage.precision}
        line |= {name: {kind: round(rate, 1) for kind, rate in rate_of.items()} for name, rate_of in speeds.items()}
        line["efficiency"] = {
            kind: round(speeds["trainer"][kind] / speeds["bare"][kind], 3) for kind in ("wall", "cpu")
        }
        if args.loader:
            line["times_the_loader"] = round(speeds["trainer"]["wall"] / speeds["loader"]["wall"], 2)
        line |= {"step": parts_of_a_step(stage, where), "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
