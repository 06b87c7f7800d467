"""Packing against a plain Pillow loop, and reading an episode from the store against decoding its files.

    python benchmarks/bench_data.py [--images 2000] [--size 84] [--side 500] [--rounds 3]

Draws JPEGs as large as ImageNet's, packs them as `prepare_data.py` does, and prints one JSON line a row: medians of
interleaved rounds, and ratios. The plain loop opens, converts, crops and resizes one file after another in one process,
with the same filter; `one process` is our decoder without processes, so that the gain of reading JPEGs at a reduced
scale can be told from that of processes. Peak memory is that of all processes of one packing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from core.data.store import Split
from core.prepare.collect import Options
from core.prepare.images import Decoding, decode_all
from core.prepare.prepare import prepare
from core.prepare.sources import source

CLASSES = 20
EPISODE = 80  # images: 5 classes, 1 support and 15 queries each
READS = 50


def draw_files(folder: Path, images: int, side: int) -> list[Path]:
    """Write JPEGs with the detail of photographs: noise at several scales."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(images):
        shape = (side, side * 3 // 4)
        layers = [Image.fromarray(rng.integers(0, 256, (k, k, 3), np.uint8)).resize(shape) for k in (4, 16, 64)]
        picture = Image.blend(Image.blend(layers[0], layers[1], 0.4), layers[2], 0.2)
        file = folder / f"class{number % CLASSES:02d}" / f"{number:05d}.jpg"
        file.parent.mkdir(exist_ok=True)
        picture.save(file, quality=90)
        files.append(file)
    return files


def plain_loop(files: list[Path], size: int) -> np.ndarray:
    """Decode the files as a short script would."""
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    for row, file in enumerate(files):
        with Image.open(file) as image:
            rgb = image.convert("RGB")
        side = min(rgb.size)
        left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
        box = (left, top, left + side, top + side)
        pixels[row] = np.asarray(rgb.resize((size, size), Image.Resampling.BICUBIC, box))
    return pixels


def seconds(function: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def pack(folder: Path, root: Path, size: int) -> list[Split]:
    """Pack the folder into an empty root."""
    return prepare(root, source(f"folder:{folder}"), Options(size=size))


def packing(folder: Path, files: list[Path], scratch: Path, args: argparse.Namespace) -> list[Split]:
    """Time packing against the loop."""
    times: dict[str, list[float]] = {"plain": [], "one process": [], "ours": []}
    for number in range(args.rounds):
        root = scratch / f"data{number}"
        times["plain"].append(seconds(lambda: plain_loop(files, args.size)))
        times["one process"].append(seconds(lambda: decode_all(files, Decoding(args.size))))
        times["ours"].append(seconds(lambda root=root: pack(folder, root, args.size)))
    rate = {name: args.images / statistics.median(values) for name, values in times.items()}
    row = {
        "row": f"packing {args.images} JPEGs of {args.side}x{args.side * 3 // 4} to {args.size} px",
        "cpus": len(os.sched_getaffinity(0)),
        **{f"{name} images/s": round(value) for name, value in rate.items()},
        "ratio": round(rate["ours"] / rate["plain"], 2),
        "ratio one process": round(rate["one process"] / rate["plain"], 2),
        "largest process MB": max(resource.getrusage(who).ru_maxrss for who in (0, -1)) // 1024,
    }
    print(json.dumps(row))
    return pack(folder, scratch / "data0", args.size)


def random_access(files: list[Path], splits: list[Split], args: argparse.Namespace) -> None:
    """Time reading an episode's images from the store against decoding as many files."""
    rng, train = np.random.default_rng(1), splits[0]
    rows = [rng.choice(len(train.names), EPISODE, replace=False) for _ in range(READS)]
    stored = statistics.median(seconds(lambda r=r: train.images[r].copy()) for r in rows)
    chosen = [[files[i] for i in rng.choice(len(files), EPISODE, replace=False)] for _ in range(5)]
    decoded = statistics.median(seconds(lambda c=c: plain_loop(c, args.size)) for c in chosen)
    row = {
        "row": f"random access of {EPISODE} images",
        "store ms": round(stored * 1e3, 3),
        "decoding ms": round(decoded * 1e3, 1),
        "ratio": round(decoded / stored),
    }
    print(json.dumps(row))


def main() -> None:
    """Both rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        folder.mkdir()
        files = draw_files(folder, args.images, args.side)
        splits = packing(folder, files, Path(scratch), args)
        random_access(files, splits, args)


if __name__ == "__main__":
    main()
