"""The table of published numbers, data/published.csv, and what a YAML claims in its terms."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

from core.config import Config
from core.data.datasets import dataset
from tests.configs.leaves import ROOT, loaded

TABLE = ROOT.parent / "data/published.csv"
RECIPES = {"mmfewshot"}  # words of a YAML's name that say whose recipe it is, not what is measured


class Setting(NamedTuple):
    """A published number, what it was measured on, and where it is printed; the columns of the table."""

    method: str
    variant: str  # what the name of a YAML says beside the method: a loss, a form of the method
    loss: str
    dataset: str
    backbone: str
    size: str
    way: str
    shot: str
    value: str
    interval: str  # half width of the 95 % interval, "" where none is printed
    source: str
    status: str


def published() -> list[Setting]:
    """The rows of the table."""
    with TABLE.open(newline="") as file:
        return [Setting(**row) for row in csv.DictReader(file)]


def published_row(leaf: str) -> Setting:
    """What a leaf with a REFERENCE claims."""
    return setting(leaf, loaded(leaf).cfg)


def setting(leaf: str, cfg: Config) -> Setting:
    """What a configuration under the name of a leaf claims."""
    name, reference, test = Path(leaf).stem, cfg.REFERENCE, cfg.TASK.TEST
    words = re.split(r"_N\d+K\d+_", name)[0].split("_")[1:]

    return Setting(
        method=cfg.METHOD.NAME,
        variant=" ".join(word for word in words if word not in RECIPES),
        loss=cfg.OBJECTIVE.NAME,
        dataset=cfg.DATASET.TEST.NAME or cfg.DATASET.NAME,
        backbone=cfg.BACKBONE.NAME,
        size=str(cfg.DATASET.SIZE or dataset(cfg.DATASET.NAME).native_size),
        way=str(test.WAY),
        shot=str(test.SHOT),
        value=f"{reference.ACCURACY:.2f}",
        interval=f"{reference.CI:.2f}" if reference.CI else "",
        source=reference.SOURCE,
        status=reference.STATUS,
    )
