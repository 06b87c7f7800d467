"""Steps of a stage in float64 by one of several processes; writes the weights after them. Not a test by itself."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from core import ranks
from core.build.config import load_config
from core.build.data import Data
from core.build.training import build_trainer
from core.engine.average import Average
from core.engine.stage_clock import StageClock
from core.engine.steps import Epoch
from core.engine.synced_norm import sync_norms
from core.progress import bar
from core.report.run import RunFolder


class Doubled:
    """A stream whose images are float64, so that the order of sums does not show."""

    def __init__(self, stream):
        self.stream, self.share = stream, stream.share

    def at(self, step, progress):
        item = self.stream.at(step, progress)
        fields = ("inputs",) if hasattr(item, "inputs") else ("support", "query")
        doubled = {name: {key: value.double() for key, value in getattr(item, name).items()} for name in fields}
        return replace(item, **doubled)


def main(cfg, folder):
    everyone = ranks.join()
    torch.set_num_threads(1)
    loaded = load_config(cfg)
    data = Data(loaded.cfg, torch.device("cpu"))
    trainer = build_trainer(data, RunFolder(Path(folder), writes=False), loaded.stem, Path(folder))
    stage = trainer._stages[-1]
    stage = replace(stage, streams=[Doubled(stream) for stream in stage.streams])
    stage.method.double()
    if not everyone.alone:
        sync_norms(stage.method)
    optimizer = stage.recipe.optimizer(stage.method.param_groups(stage.recipe.lr))
    epoch = Epoch(0, torch.device("cpu"))
    clock = StageClock(stage.name, 1, stage.steps, 0, bar(1, "steps"), False)
    mean = epoch.take(stage, optimizer, clock, Average(stage.method, 0.0))
    state = {"loss": mean, "train": epoch.losses.train_accuracy(), "scalars": epoch.losses.scalars()}
    state["state"] = stage.method.state_dict()
    torch.save(state, Path(folder) / f"{everyone.number}_of_{everyone.count}.pth")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*sys.argv[1:])
