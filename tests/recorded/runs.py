"""Short runs whose files must stay what they are: recorded once, and repeated by a test.

    python tests/recorded/runs.py FOLDER [--checkout DIR]     train and evaluate every run
    python tests/recorded/runs.py FOLDER --compare OTHER      say where two folders of runs differ
    python tests/recorded/runs.py FOLDER --write              record a folder's files in expected.json

A change that must not move a number is proved by two folders, one from the checkout before it; expected.json holds
hashes of the files as they were on 30 November 2026, and test_runs.py compares today's with them. On that day the
interval over classes in result.json took the episodes' mean for its own; nothing else had moved.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
EXPECTED = Path(__file__).with_name("expected.json")
SMALL = ["BACKBONE.ARGS.width=8", "TASK.TRAIN.WAY=5", "TASK.TRAIN.QUERY=4", "EVAL.EPISODES=200", "EVAL.CACHE=false"]


def short(stage: str) -> list[str]:
    """Two epochs of three steps."""
    return [f"STAGE.{stage}.EPOCHS=2", f"STAGE.{stage}.STEPS=3", f"STAGE.{stage}.VAL.EPISODES=20"]


EPISODES, BATCHES = short("meta"), [*short("base"), "STAGE.base.OPTIM.MILESTONES=[1]"]
GENERATOR = [*short("generator"), "STAGE.generator.OPTIM.MILESTONES=[1]", "DATASET.BASE_HOLDOUT=5"]
GRID = [
    "DATASET.VIEWS=[grid-2]",
    "BACKBONE.VECTOR=mean",
    "METHOD.ARGS.variant=grid",
    "STAGES=[meta]",
    "STAGE.meta.STREAM=episodes",
]

# name -> YAML below configs/Glyphs, overrides of the training, options of the evaluation
RUNS = {
    "ProtoNet": ("ProtoNet", EPISODES, []),
    "NegMargin": ("NegMargin", BATCHES, ["--shots", "1", "5"]),
    "MetaBaseline": ("MetaBaseline", [*BATCHES, *EPISODES], []),
    "CosineProtoNet": ("CosineProtoNet", EPISODES, []),
    "MML": ("MML", [*BATCHES, *EPISODES], []),
    "DeepEMD_FCN": ("DeepEMD", [*BATCHES, *EPISODES], []),
    "DeepEMD_Grid": ("DeepEMD", [*EPISODES, *GRID], []),
    "AM3_TRAML": ("AM3_TRAML", EPISODES, []),
    "DynamicFSL": ("DynamicFSL", [*BATCHES, *GENERATOR], ["--generalized"]),
    "MAML": ("MAML", EPISODES, []),
}

# What recordings made with earlier code lack: names that parameters have now, and curves that were added.
RENAMED = {"MetaBaseline": {"tau": "scale"}}
ADDED = {"MetaBaseline": {"scale"}}


def commands(checkout: Path, folder: Path, data: Path, name: str) -> list[list[str]]:
    """The command lines of one run: training without its evaluation, then the evaluation."""
    yaml, overrides, options = RUNS[name]
    cfg = ["--cfg", f"configs/Glyphs/{yaml}_N5K1_C4.yaml", "--device", "cpu", "--threads", "1"]
    keys = [f"DATASET.ROOT={data}", *SMALL, *overrides]
    run = folder / name
    train = ["experiments/run_trainer.py", *cfg, "-c", str(run / "base"), "-p", str(run), "-e", "0", "--overwrite"]
    evaluate = ["experiments/run_evaluator.py", *cfg, "-c", str(run / "ebest_5way_1shot.pth"), *options]
    return [[sys.executable, *command, *keys] for command in (train, evaluate)]


def record(checkout: Path, folder: Path, data: Path, names=tuple(RUNS)) -> None:
    """Run every command line in a checkout."""
    for name in names:
        for command in commands(checkout, folder, data, name):
            answer = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=dict(os.environ))
            if answer.returncode:
                raise SystemExit(f"{name} failed: {' '.join(command)}\n{answer.stdout}{answer.stderr}")
            print(f"{name:16}{answer.stdout.strip().splitlines()[-2]}", flush=True)


def content(file: Path):
    """What a file says, without what depends on the clock, the machine or the folder."""
    import torch

    if file.suffix == ".pth":
        saved = torch.load(file, weights_only=True)
        renamed = RENAMED.get(saved["meta"]["method"]["NAME"], {})
        saved["method"] = {renamed.get(name, name): value for name, value in saved["method"].items()}
        return {name: saved[name] for name in ("method", "optimizer", "progress", "epoch", "val") if name in saved}
    if file.name == "metrics.jsonl":
        records = [json.loads(line) for line in file.read_text().splitlines()]
        skipped = {"steps_per_second", "cost", *ADDED.get(file.parent.name, ())}
        return [{key: value for key, value in r.items() if key not in skipped} for r in records]
    if file.suffix == ".json":
        saved = json.loads(file.read_text())
        return {key: v for key, v in saved.items() if key not in ("seconds", "checkpoint_sha256", "device", "threads")}
    return file.read_bytes()


def machine() -> dict[str, str]:
    """What rounding depends on: results are the same bytes only where this is the same."""
    import torch

    cpu = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__.split("+")[0], "cpu": cpu, "platform": platform.machine(), "model": cpu_model()}


def cpu_model() -> str:
    """The processor's family and model, such as 6-207: convolutions are compiled for it."""
    try:
        lines = [line.split(":") for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    except OSError:
        return platform.processor()
    known = {name.strip(): value.strip() for name, value in reversed(lines)}
    return f"{known.get('cpu family', '')}-{known.get('model', '')}"


def digest(value) -> str:
    """A hash of a content, tensors by their bytes."""
    import torch

    def plain(value):
        if isinstance(value, torch.Tensor):
            return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value.hex() if isinstance(value, bytes) else value

    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def digests(folder: Path, name: str) -> dict[str, str]:
    """Hash of each file of a run that a change must not move."""
    return {str(file): digest(content(folder / name / file)) for file in compared(folder / name)}


def compared(folder: Path) -> list[Path]:
    """The files of a run's folder that a change must not move, relative to it: all but the pages that show them."""
    kept = [*folder.glob("*.pth"), *folder.glob("metrics.jsonl"), *folder.glob("eval/*/*/*.*")]
    return sorted(file.relative_to(folder) for file in kept if file.suffix != ".html")


def same(one, other) -> bool:
    """Whether two contents are equal, tensors bit for bit."""
    import torch

    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def differences(one: Path, other: Path, names=tuple(RUNS)) -> list[str]:
    """Files that differ between two folders of runs, or that only one of them has."""
    listed = []
    for name in names:
        files = compared(one / name)
        if files != compared(other / name):
            listed.append(f"{name}: other files: {set(files) ^ set(compared(other / name))}")
        both = [file for file in files if (other / name / file).is_file()]
        listed += [f"{name}/{f}" for f in both if not same(content(one / name / f), content(other / name / f))]
    return listed


def main() -> None:
    """Record runs, or compare two folders of them."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("folder", type=Path)
    cli.add_argument("--checkout", type=Path, default=CHECKOUT)
    cli.add_argument("--data", type=Path, default=CHECKOUT / ".pytest_cache" / "data")
    cli.add_argument("--compare", type=Path)
    cli.add_argument("--write", action="store_true")
    cli.add_argument("--only", nargs="+", default=list(RUNS), choices=RUNS)
    args = cli.parse_args()
    if args.write:
        runs = {name: digests(args.folder, name) for name in args.only}
        EXPECTED.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n")
        return None
    if args.compare is None:
        return record(args.checkout.resolve(), args.folder.resolve(), args.data.resolve(), args.only)
    listed = differences(args.folder, args.compare, args.only)
    print("\n".join(listed) or f"{len(args.only)} runs are the same")
    return sys.exit(bool(listed))


if __name__ == "__main__":
    main()
