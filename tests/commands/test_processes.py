"""One run by several processes: torchrun experiments/run_trainer.py."""

import json
import time

import pytest
import torch
import yaml

from tests.conftest import ROOT
from tests.together import run_together
from tests.workspace import PROTONET, best, metrics

pytestmark = pytest.mark.slow


@pytest.fixture
def together(tmp_path, tiny_root):
    """Start a script on a small YAML in several processes."""

    def start(script, *arguments, processes=2, steps=4, tasks=2):
        cfg = tmp_path / "Proto.yaml"
        meta = {"EPOCHS": 3, "STEPS": steps, "TASKS": tasks, "VAL": {"EPISODES": 20}}
        data = {"ROOT": str(tiny_root), "SIZE": 16}
        cfg.write_text(yaml.safe_dump(PROTONET | {"DATASET": data, "STAGE": {"meta": meta}}))
        arguments = ["--cfg", cfg, "-d", "cpu", *arguments]
        return run_together(ROOT / "experiments" / script, arguments, processes, tmp_path)

    return start


def finish(started):
    """What each process printed; all must end well."""
    printed = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(started), printed
    return printed


def test_the_first_process_writes_and_speaks(together, tmp_path):
    first, second = finish(together("run_trainer.py"))
    assert "ProtoNet" in first
    assert not second
    (run,) = (tmp_path / "checkpoint").glob("*_Proto")
    assert json.loads((run / "status.json").read_text())["state"] == "done"
    assert json.loads((run / "env.json").read_text())["processes"] == 2
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_episodes_do_not_depend_on_the_number_of_processes(together, tmp_path):
    finish(together("run_trainer.py", "-e", "0", processes=1))
    (run,) = (tmp_path / "checkpoint").glob("*_Proto")
    answers = []
    for processes in (1, 2, 3):
        finish(together("run_evaluator.py", "-c", best(run), processes=processes))
        (folder,) = (run / "eval").glob("*/*")
        result = json.loads((folder / "result.json").read_text())
        answers.append(((folder / "episodes.csv").read_bytes(), result["mean"], result["intervals"], result["ece"]))
        for file in folder.iterdir():
            file.unlink()
    assert answers[0] == answers[1] == answers[2]


def test_one_process_dies_and_the_run_goes_on(together, tmp_path):
    first, second = together("run_trainer.py", "-e", "0", steps=200)
    last = tmp_path / "checkpoint"
    deadline = time.monotonic() + 90
    while not list(last.glob("*/last.pth")) and time.monotonic() < deadline:
        time.sleep(0.1)
    second.kill()
    began = time.monotonic()
    printed, _ = first.communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert first.returncode == 2
    assert "error: process 0 of 2 lost another process of this run" in printed
    assert "Traceback" not in printed
    second.communicate()
    finish(together("run_trainer.py", "-e", "0", "--resume", steps=200))
    (run,) = last.glob("*_Proto")
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_run_goes_on_from_within_an_epoch_with_any_number_of_processes(together, tmp_path):
    """last.pth has the sums of both processes: the epoch's accuracy counts the steps before the kill too."""
    options = ("-e", "0", "STAGE.meta.EPOCHS=1", "SAVE_MINUTES=0")
    finish(together("run_trainer.py", *options, "--tag", "whole", steps=150))
    first, second = together("run_trainer.py", *options, "--tag", "killed", steps=150)
    last = tmp_path / "checkpoint/Glyphs_Proto_killed/last.pth"
    deadline = time.monotonic() + 90
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    second.kill()
    for process in (first, second):
        process.communicate(timeout=60)
    assert 0 < torch.load(last, weights_only=True)["partial"]["step"] < 150
    finish(together("run_trainer.py", *options, "--tag", "killed", "--resume", steps=150, processes=1))
    whole, killed = (metrics(last.parents[1] / f"Glyphs_Proto_{tag}")[0] for tag in ("whole", "killed"))
    assert killed["loss"] == pytest.approx(whole["loss"], rel=0.02)
    assert killed["train_accuracy"] == pytest.approx(whole["train_accuracy"], abs=1)


def test_tasks_that_cannot_be_shared_are_refused(together):
    printed = [process.communicate(timeout=60)[0] for process in together("run_trainer.py", processes=2, tasks=3)]
    assert "STAGE.meta.TASKS is 3, which 2 processes (WORLD_SIZE) cannot share evenly" in printed[0]
