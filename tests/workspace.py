"""A user's folder with YAML files and runs, in which the two commands are run as from a shell."""

import json
import runpy
import sys
from pathlib import Path

import torch
import yaml

from core.commands import evaluate, train
from core.ops import random

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
META = {"EPOCHS": 3, "STEPS": 4, "VAL": {"EPISODES": 20}}
PROTONET = {
    "TASK": {"TEST": {"WAY": 3, "SHOT": 1, "QUERY": 5}},
    "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8}},
    "METHOD": {"NAME": "ProtoNet"},
    "STAGE": {"meta": META},
    "EVAL": {"EPISODES": 40},
}
TWO_STAGES = PROTONET | {
    "STAGES": ["base", "meta"],
    "STAGE": {
        "base": {
            "METHOD": "NegMargin",
            "ARGS": {"head_passes": 4},
            "OBJECTIVE": {"NAME": "negmargin"},
            "STREAM": "batches",
            "EPOCHS": 2,
            "STEPS": 0,
            "AUGMENT": ["crop-2", "flip"],
            "OPTIM": {"NAME": "sgd", "LR": 0.05},
            "VAL": {"EPISODES": 20},
        },
        "meta": META,
    },
}


class Workspace:
    """YAML files and runs below `path`, data below `root`."""

    def __init__(self, path, root, monkeypatch, capsys):
        self.path, self.root = path, root
        self.base = path / "checkpoint"
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def config(self, tree=PROTONET, name="Proto.yaml", **keys):
        """Write a YAML; `keys` are further top-level nodes. Pages, which take time, are left out unless asked for."""
        file = self.path / name
        tree = {"DATASET": {"ROOT": str(self.root), "SIZE": 16}, **tree, **keys}
        file.write_text(yaml.safe_dump(tree | {"EVAL": {"PAGE": False} | tree.get("EVAL", {})}))
        return file

    def train(self, cfg, *overrides, **options):
        """Train in this process; returns the run folder. Evaluates only if asked to."""
        options = {"device_name": "cpu", "base": str(self.base), "evaluate_after": False} | options
        return train(str(cfg), overrides, **options)

    def evaluate(self, cfg, checkpoint, *overrides, **options):
        """Evaluate a checkpoint; returns the folder of the result files."""
        evaluate(str(cfg), overrides, [str(checkpoint)], **{"device_name": "cpu"} | options)
        return Path(self.printed().split("result files  ")[-1].strip())

    def script(self, name, *arguments):
        """Run a script as a shell would; returns the exit code, what it printed, and its errors."""
        self.printed()
        self._monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        self._monkeypatch.setattr(sys, "path", list(sys.path))
        code = 0
        try:
            runpy.run_path(str(EXPERIMENTS / name), run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
        out, err = self._capsys.readouterr()
        return code, out, err

    def printed(self):
        """What was printed since the last call."""
        return self._capsys.readouterr().out

    def trainer(self, cfg, *arguments):
        """Run run_trainer.py."""
        return self.script("run_trainer.py", "--cfg", cfg, "-c", self.base, "-d", "cpu", *arguments)

    def evaluator(self, cfg, *arguments):
        """Run run_evaluator.py."""
        return self.script("run_evaluator.py", "--cfg", cfg, "-d", "cpu", *arguments)


def interrupt_in(monkeypatch, stage, epoch, error=KeyboardInterrupt):
    """Make training stop, once, in the second step of an epoch (counted from 0)."""

    def stop():
        raise error

    in_second_step(monkeypatch, stage, epoch, stop)


def in_second_step(monkeypatch, stage, epoch, act):
    """Have something happen, once, in the second step of an epoch (counted from 0)."""
    real = random.key
    steps = {"meta": 4, "base": 3}[stage]

    def key(*parts):
        if parts[0] == "step" and parts[2:] == (stage, epoch * steps + 1):
            monkeypatch.setattr(random, "key", real)
            act()
        return real(*parts)

    monkeypatch.setattr(random, "key", key)


def best(run):
    """The selected checkpoint of a run."""
    (checkpoint,) = run.glob("ebest_*.pth")
    return checkpoint


def files(folder):
    """Every file below a folder with its content."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def result(folder):
    """What result.json holds."""
    return json.loads((folder / "result.json").read_text())


def state(run):
    """What status.json holds."""
    return json.loads((run / "status.json").read_text())


def metrics(run):
    """Records of metrics.jsonl, without what depends on the clock."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in record.items() if key not in ("steps_per_second", "cost")} for record in records
    ]


def same(one, other):
    """Whether two nested structures hold the same values, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def same_run(one, other):
    """Whether two runs hold the same checkpoints and curves."""
    stored = [sorted(file.name for file in run.glob("*.pth")) for run in (one, other)]
    contents = [[torch.load(run / name, weights_only=True) for name in stored[0]] for run in (one, other)]
    for content in (c for of_run in contents for c in of_run):
        content["meta"].pop("run")
    return stored[0] == stored[1] and same(*contents) and metrics(one) == metrics(other)
