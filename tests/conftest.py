"""One thread, so that runs repeat bit for bit and tests share a machine, and a data set of a few kilobytes."""

import hashlib
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when NumPy and PyTorch are imported; also by subprocesses

import numpy as np
import pytest
import torch
from hypothesis import settings

from core.data.store import split_dir, write_split

pytest_plugins = ["tests.command_fixtures"]
ROOT = Path(__file__).parents[1]
SIZE = 16
TINY = {"train": (8, 20), "val": (6, 20), "test": (6, 20)}  # classes, images of a class

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
torch.set_num_threads(1)  # for the fixtures that are made before `one_thread`


def pytest_addoption(parser):
    parser.addoption(
        "--contract", action="append", metavar="YAML", help="put the method of this config through the contract, alone"
    )
    parser.addoption("--protocol", metavar="MODULE", help="put the protocols of this module through theirs, alone")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory):
    """A data folder whose Glyphs are 16 px patterns: each class has one of its own, under noise."""
    root = tmp_path_factory.mktemp("data")
    for number, (split, (n_classes, per_class)) in enumerate(TINY.items()):
        write_tiny_split(root, split, n_classes, per_class, seed=number)
    return root


@pytest.fixture(scope="session")
def glyphs() -> str:
    """Root of the embedded data set, drawn once for all sessions: until the code that draws it changes."""
    drawn_by = b"".join((ROOT / "core/prepare" / name).read_bytes() for name in ("glyphs.py", "glyph_fonts.py"))
    return str(ROOT / ".pytest_cache" / f"glyphs-{hashlib.sha256(drawn_by).hexdigest()[:12]}")


def write_tiny_split(root, split, n_classes, per_class, seed=0, dataset="Glyphs"):
    rng = np.random.default_rng(seed)
    patterns = rng.uniform(40, 215, (n_classes, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    labels = np.arange(n_classes).repeat(per_class)
    images = patterns[labels] + rng.normal(0, 70, (len(labels), SIZE, SIZE, 3))
    write_split(
        split_dir(root, dataset, SIZE, split),
        dataset,
        images.clip(0, 255).astype(np.uint8),
        labels,
        [f"{split}{c}" for c in range(n_classes)],
        [f"{i:02d}.png" for _ in range(n_classes) for i in range(per_class)],
        source="made up",
    )
