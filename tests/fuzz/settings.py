"""Odd configurations, overrides and suites."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import strategies as st

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import refuse_test
from core.build.networks import build_method
from core.report.run import RunFolder
from core.suites.progress import Record, progress
from core.suites.suite import read_suite
from tests.fuzz.bench import CPU, Bench
from tests.fuzz.damage import altered, changes, damaged, edits, texts, values

KEYS = [
    *("SEED", "DATASET.NAME", "DATASET.SIZE", "DATASET.VIEWS", "DATASET.EVAL_CROP", "DATASET.BASE_HOLDOUT", "STAGES"),
    *("TASK.TEST.WAY", "TASK.TEST.SHOT", "TASK.TEST.QUERY", "TASK.TEST.SHOTS", "TASK.TEST.QUERIES", "BACKBONE.NAME"),
    *("BACKBONE.ARGS", "BACKBONE.ARGS.width", "BACKBONE.VECTOR", "METHOD.NAME", "METHOD.ARGS", "METHOD.ARGS.scale"),
    *("OBJECTIVE.NAME", "OBJECTIVE.ARGS", "STAGE", "STAGE.meta", "STAGE.meta.METHOD", "STAGE.meta.EPOCHS"),
    *("STAGE.meta.STEPS", "STAGE.meta.TASKS", "STAGE.meta.BATCH", "STAGE.meta.AUGMENT", "STAGE.meta.OPTIM.LR"),
    *("STAGE.meta.OPTIM.MILESTONES", "STAGE.meta.OPTIM.BETAS", "STAGE.meta.VAL.EPISODES", "EVAL.EPISODES", "REFERENCE"),
    *("REFERENCE.FIGURES", "EVAL.PRIOR", "PLUGINS", "_BASE_", "EVAL", "nothing"),
]
RECORDS = ("notes", "metrics.jsonl", "status.json")


def as_yaml(tree: Any) -> bytes | None:
    """A value as YAML; None where YAML cannot hold it."""
    try:
        return yaml.safe_dump(tree).encode("utf-8", "surrogatepass")
    except (UnicodeEncodeError, TypeError):  # TypeError: keys that cannot be sorted
        return None


class Settings:
    """What a user writes about a run."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.suite_tree = {
            "BASE": str(bench.work / "runs"),
            "RUNS": [{"CFG": str(bench.good), "TAG": "a", "OVERRIDES": ["SEED=1"], "SEEDS": [2]}, str(bench.good)],
            "SEEDS": [0, 1],
            "OVERRIDES": ["EVAL.EPISODES=30"],
            "TESTS": [{"OPTIONS": ["--shots", 2], "OVERRIDES": ["TASK.TEST.WAY=2"]}],
        }
        self.targets: dict[str, tuple[Any, Any]] = {
            "configs": (st.tuples(st.sampled_from(KEYS), values), self.one_key),
            "configs, nested": (changes, self.nested),
            "overrides": (st.lists(st.tuples(st.sampled_from(KEYS), texts), max_size=3), self.overrides),
            "YAML text": (edits, self.yaml_text),
            "suites": (edits, self.suite_text),
            "suites, nested": (changes, self.suite),
            "records of suites": (st.tuples(st.sampled_from(RECORDS), changes, st.booleans(), edits), self.records),
        }

    def _configuration(self, text: bytes | None) -> None:
        """A configuration, as far as the network on its data."""
        if text is None:
            return
        cfg = load_config(self.bench.file("Odd.yaml", text)).cfg
        if cfg.DATASET.TRAIN.NAME == "Glyphs" and cfg.DATASET.SIZE == 16 and str(self.bench.root) == cfg.DATASET.ROOT:
            data = Data(cfg, CPU)
            refuse_test(data)
            build_method(data)

    def one_key(self, value: tuple[str, Any]) -> None:
        """A configuration with one odd value."""
        self._configuration(as_yaml(self.bench.config | {value[0]: value[1]}))

    def nested(self, value: Any) -> None:
        """A configuration whose nodes hold something else."""
        self._configuration(as_yaml(altered(self.bench.config, value)))

    def overrides(self, value: list[tuple[str, str]]) -> None:
        """Odd words after a command."""
        load_config(self.bench.good, [f"{key}={text}" for key, text in value])

    def yaml_text(self, value: Any) -> None:
        """A YAML file with damaged bytes."""
        load_config(self.bench.file("Odd.yaml", damaged(self.bench.yaml, value)))

    def suite_text(self, value: Any) -> None:
        """A suite file with damaged bytes."""
        read_suite(self.bench.file("suite.yaml", damaged(yaml.safe_dump(self.suite_tree).encode(), value)))

    def suite(self, value: Any) -> None:
        """A suite file that holds something else."""
        text = as_yaml(altered(self.suite_tree, value))
        for cell in [] if text is None else read_suite(self.bench.file("suite.yaml", text)):
            cell.train_arguments("cpu", resume=False)
            cell.test_arguments(0, "cpu")

    def records(self, value: Any) -> None:
        """What a suite notes of a cell and its run, holding something else: its progress can still be told."""
        name, steps, is_bytes, harm = value
        cell = read_suite(self.bench.file("suite.yaml", yaml.safe_dump(self.suite_tree).encode()))[0]
        record, run = Record(cell), RunFolder(cell.run.path)
        contents = {
            "notes": {"pid": 1, "process_started": 5.0, "started": 1.0, "epochs_at_start": 0, "exit": 0, "results": {}},
            "metrics.jsonl": {"stage": "meta", "epoch": 1, "val": 20.0, "loss": 1.5},
            "status.json": {"state": "running", "host": "here", "pid": 1, "started": 5.0},
        }
        record.note(**contents["notes"])
        run.write_json("status.json", contents["status.json"])
        run.add_metrics(contents["metrics.jsonl"])
        file = cell.base / "suites" / f"{cell.name}.json" if name == "notes" else run.path / name
        text = json.dumps(altered(contents[name], steps), default=str).encode()
        file.write_bytes(damaged(text, harm) if is_bytes else text)
        progress(cell)
        run.state()
        record.note(exit=1)
