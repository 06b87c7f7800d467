"""ImageNet low-shot at its real size, on generated features: seconds and peak memory of every step.

    python benchmarks/bench_lowshot.py FOLDER [--steps 200] [--trials 5]

makes 1,281,167 x 512 float32 training and 50,000 validation features (about 8 GB of disk, freed as it goes) in
FOLDER, prepares them, trains both stages of configs/ImageNet-LowShot/DynamicFSL.yaml for some steps, and evaluates.
`anonymous` is the memory that a process asked for; `resident` also counts pages of mapped files, which the system
takes back when it needs them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CLASSES, WIDTH, TRAINING, PER_CLASS = 1000, 512, 1_281_167, 50
CONFIG = ROOT / "configs/ImageNet-LowShot/DynamicFSL.yaml"


def generate(folder: Path) -> list[Path]:
    """Features around a centre of each class, in two .npz files that are written block by block."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, WIDTH)).astype(np.float32)

    def blocks(labels: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(labels), 20_000):
            chosen = labels[start : start + 20_000]
            yield centres[chosen] + rng.normal(0, 6, (len(chosen), WIDTH)).astype(np.float32)

    files = []
    for part, count in (("train", TRAINING), ("val", CLASSES * PER_CLASS)):
        labels = rng.permutation(np.arange(count) % CLASSES)
        files.append(folder / f"features_{part}.npz")
        with zipfile.ZipFile(files[-1], "w") as archive:
            with archive.open("all_features.npy", "w", force_zip64=True) as member:
                header = {"descr": "<f4", "fortran_order": False, "shape": (count, WIDTH)}
                np.lib.format.write_array_header_1_0(member, header)
                for block in blocks(labels):
                    member.write(block.tobytes())
            with archive.open("all_labels.npy", "w") as member:
                np.lib.format.write_array(member, labels)
    return files


def measured(name: str, *command: object) -> None:
    """Run a command to its end; its seconds and the largest values of its memory, looked at 20 times a second."""
    start, most = time.perf_counter(), {"RssAnon": 0, "VmRSS": 0}
    with subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            fields = {key: value for key, _, value in (line.partition(":") for line in status.splitlines())}
            most = {key: max(value, int(fields.get(key, "0").split()[0])) for key, value in most.items()}
            time.sleep(0.05)
    if process.returncode:
        sys.exit(f"{name} failed")
    seconds = time.perf_counter() - start
    print(f"== {name}: {seconds:.1f} s, anonymous {most['RssAnon'] >> 10} MB, resident {most['VmRSS'] >> 10} MB")


def main() -> None:
    """Every step in a process of its own."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("folder", type=Path)
    cli.add_argument("--steps", type=int, default=200)
    cli.add_argument("--trials", type=int, default=5)
    args = cli.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    data, runs = args.folder / "data", args.folder / "runs"
    if not data.is_dir():
        files = generate(args.folder)
        source = ("--from", *files, "--class-ids", "sorted", "--root", data)
        measured("prepare", "experiments/prepare_data.py", "ImageNet-LowShot", *source)
        for file in files:
            file.unlink()
    common = ("--cfg", CONFIG, "-d", "cpu", f"DATASET.ROOT={data}")
    short = [f"STAGE.base.STEPS={args.steps}", f"STAGE.generator.STEPS={args.steps}", "STAGE.base.EPOCHS=1"]
    short += ["STAGE.generator.EPOCHS=1", "STAGE.base.OPTIM.SCHEDULE=constant", "STAGE.base.VAL.EPISODES=50"]
    short += ["STAGE.generator.OPTIM.SCHEDULE=constant", "STAGE.generator.VAL.EPISODES=50"]
    train = ("experiments/run_trainer.py", *common, *short, "-c", runs, "-e", 0, "--overwrite")
    measured(f"train, {args.steps} steps of each stage", *train)
    best = next(runs.glob("*/ebest_*.pth"))
    evaluate = ("experiments/run_evaluator.py", *common, f"EVAL.TRIALS={args.trials}", "--lowshot", "test", "-c", best)
    measured(f"evaluate, n = 1 2 5 10 20, {args.trials} trials each", *evaluate)


if __name__ == "__main__":
    main()
