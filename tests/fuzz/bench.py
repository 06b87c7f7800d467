"""Where odd inputs are tried: a folder with a small data set, and valid files that inputs are made from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from core.build.config import load_config
from core.build.data import Data
from core.build.identity import describe
from core.build.networks import build_method
from core.data.store import split_dir, write_split

CPU = torch.device("cpu")
CONFIG: dict[str, Any] = {
    "DATASET": {"SIZE": 16},
    "TASK": {"TEST": {"WAY": 3, "SHOT": 1, "QUERY": 5}},
    "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8}},
    "METHOD": {"NAME": "ProtoNet", "ARGS": {"scale": 1.0}},
    "STAGES": ["meta"],
    "STAGE": {"meta": {"EPOCHS": 1, "STEPS": 2, "OPTIM": {"LR": 0.001}, "VAL": {"EPISODES": 2}}},
    "EVAL": {"EPISODES": 20},
}


def write_tiny(root: Path, dataset: str = "Glyphs", size: int = 16) -> None:
    """A data folder with three splits of random pixels."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        labels = np.arange(6).repeat(8)
        images = rng.integers(0, 256, (48, size, size, 3), np.uint8)
        classes, names = [f"{split}{n}" for n in range(6)], [f"{n:02d}" for n in range(8)] * 6
        write_split(split_dir(root, dataset, size, split), dataset, images, labels, classes, names, "made up")


class Bench:
    """A folder with data and a configuration, and in it `work`, which is empty before each input."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.work = folder, folder / "data", folder / "work"
        self.work.mkdir()
        write_tiny(self.root)
        self.config = CONFIG | {"DATASET": {"ROOT": str(self.root), "SIZE": 16}}
        self.yaml = yaml.safe_dump(self.config).encode()
        self.good = folder / "Good.yaml"
        self.good.write_bytes(self.yaml)
        self.data = Data(load_config(self.good).cfg, CPU)
        buffer = io.BytesIO()
        method = build_method(self.data)
        torch.save({"method": method.state_dict(), "meta": describe(self.data) | {"stem": "x", "run": "y"}}, buffer)
        self.checkpoint = buffer.getvalue()

    def file(self, name: str, content: bytes) -> Path:
        """A new file in `work`."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path
