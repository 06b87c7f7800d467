"""A suite in a folder of its own: two methods that share a base training, and one alone. And collected runs of one."""

import gzip
import json

import numpy as np
import pytest
import yaml

from core.build.config import load_config
from tests.workspace import META, PROTONET, TWO_STAGES

SHORT = {"STAGE": {"meta": META | {"EPOCHS": 2}}, "EVAL": {"EPISODES": 20}}
TWO = TWO_STAGES | {"STAGE": TWO_STAGES["STAGE"] | SHORT["STAGE"], "EVAL": SHORT["EVAL"]}

SETTING = {"dataset": "CIFAR-FS", "split": "test", "fingerprint": "f", "way": 5, "query": 15, "queries": 75, "seed": 0}
BASE_STEPS = [{"stage": "base", "epoch": 1, "step": 60, "steps_per_second": 0.5}]  # two minutes
META_STEPS = [{"stage": "meta", "epoch": n + 1, "step": 30 * (n + 1), "steps_per_second": 1.0} for n in range(2)]  # one


@pytest.fixture
def suite(space):
    """Write a suite file; `keys` replace those of the default."""
    space.config(PROTONET | SHORT, "Proto.yaml")
    space.config(TWO, "Two.yaml")
    space.config(TWO | {"METHOD": {"NAME": "ProtoNet", "ARGS": {"scale": 0.5}}}, "Scaled.yaml")

    def write(**keys):
        file = space.path / "suite.yaml"
        runs = [str(space.path / name) for name in ("Two.yaml", "Scaled.yaml", "Proto.yaml")]
        tree = {"BASE": str(space.base), "RUNS": runs, "TESTS": [{}, {"OPTIONS": ["--shots", 2]}]}
        file.write_text(yaml.safe_dump(tree | keys))
        return file

    return write


@pytest.fixture
def collected(tmp_path):
    """Write collected runs; returns the folder of the suite and the accuracies of each run."""
    accuracies = {}

    def add(
        stem,
        seed=0,
        shot=1,
        gain=0.0,
        method=None,
        steps=META_STEPS,
        shared=(),
        episodes=40,
        row="",
        suite="suite",
        **changes,
    ):
        folder = tmp_path / suite / f"CIFAR-FS_{stem}_s{seed}"
        cfg = load_config(f"CIFAR-FS/{stem}.yaml", [f"SEED={seed}"]).cfg
        about = {"cfg": f"CIFAR-FS/{stem}.yaml", "state": "done", "shared": list(shared), "row": row}
        about["against"] = "ProtoNet"
        correct = np.random.default_rng(5).integers(30, 50, 40) + round(gain * 0.75) + seed
        accuracy = (correct / 0.75)[:episodes]
        result = SETTING | {"method": method or stem.split("_")[0], "shot": shot, "training_seed": seed}
        result |= {"transductive": False, "episodes": episodes, "mean": accuracy.mean(), "features_of": None}
        result |= {"checkpoint_sha256": "0" * 64} | changes
        place = folder / "eval" / "ebest" / f"{shot}_{result['method']}_{episodes}"
        place.mkdir(parents=True, exist_ok=True)
        rows = [f"{i},{c},75,0 1 2 3 {4 + i % 3},0\n" for i, c in enumerate(correct[:episodes])]
        text = "index,correct,queries,classes,top2\n" + "".join(rows)
        (place / "episodes.csv.gz").write_bytes(gzip.compress(text.encode()))
        (place / "result.json").write_text(json.dumps(result))
        (folder / "config.yaml").write_text(cfg.dump())
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
        (folder / "env.json").write_text(json.dumps({"cpus": 2, "threads": 1, "commit": "c" * 40}))
        (folder / "cell.json").write_text(json.dumps(about))
        accuracies[stem, seed] = accuracy
        return tmp_path / suite

    add.accuracies = accuracies
    return add
