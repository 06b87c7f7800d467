"""Run folders with an evaluation of made-up episodes."""

import numpy as np
import pytest

from core.files import write_files
from core.report.result import result_files
from core.report.stats import t_interval
from core.report.tally import Evaluation
from tests.workspace import Workspace

SETTING = {
    "dataset": "Made",
    "split": "test",
    "fingerprint": "f" * 64,
    "way": 2,
    "shot": 1,
    "query": 5,
    "queries": 10,
    "seed": 0,
}


@pytest.fixture
def space(tmp_path, monkeypatch, capsys):
    return Workspace(tmp_path, tmp_path, monkeypatch, capsys)


@pytest.fixture
def run(tmp_path):
    """Write a run folder with one evaluation; returns the run folder."""

    def run(name, gain=0.0, config=None, checkpoint="ebest_2way_1shot", classes=None, **changes):
        episodes = changes.get("episodes", 50)
        hard = np.random.default_rng(1).integers(2, 8, episodes)
        noise = np.random.default_rng(sum(map(ord, name))).random(episodes) < 0.5 * abs(gain)
        correct = hard + np.sign(gain).astype(int) * noise
        classes = np.tile([0, 1], (episodes, 1)) if classes is None else classes
        accuracy = t_interval(correct * 10.0)
        result = SETTING | {"method": name[0], "transductive": name == "T", "training_seed": 0, "episodes": episodes}
        result |= {"mean": accuracy.mean, "ci95": accuracy.ci95, "precision": "float32"} | changes
        folder = tmp_path / name / "eval" / checkpoint / f"test_{result['shot']}s_{result['seed']}_{episodes}"
        evaluation = Evaluation(
            correct, correct, classes, result["queries"], np.eye(2, dtype=int), np.zeros((3, 1)), {}
        )
        write_files(folder, result_files(result, evaluation, ["x", "y"]))
        if config:
            (tmp_path / name / "config.yaml").write_text(config)
        return tmp_path / name

    return run
