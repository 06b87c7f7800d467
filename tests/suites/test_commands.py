"""A suite from the command line: it runs what is missing, shares stages, survives kills, and ends in one table."""

import os
import subprocess
import sys
import time

import pytest

from core.locks import this_process
from core.suites.local import LocalRunner
from core.suites.progress import Record, progress
from core.suites.suite import read_suite
from tests.workspace import EXPERIMENTS, best, files


def test_a_suite_runs_once_and_shares_its_base_training(suite, space):
    file = suite(RUNS=[str(space.path / name) for name in ("Two.yaml", "Scaled.yaml")], TESTS=[{}])
    code, out, err = space.script("run_suite.py", file, "--devices", "cpu", "--jobs", "2")
    assert (code, err) == (0, "")
    assert "2 cells: 2 done" in out
    assert "Glyphs test 3-way 1-shot, 20 episodes" in out
    assert len(list((space.base / "pretrained").glob("*.pth"))) == 1
    logs = [Record(cell).log.read_text() for cell in read_suite(file)]
    assert ["stage base: reusing" in log for log in logs] == [False, True]
    trained = [progress(cell) for cell in read_suite(file)]
    assert [each.epochs == each.of for each in trained] == [True, True]
    assert trained[1].of < trained[0].of  # a stage that came from elsewhere does not count
    assert logs[0].startswith("$ python experiments/run_trainer.py --threads 1 --cfg ")
    before = files(space.base)
    code, out, err = space.script("run_suite.py", file, "--devices", "cpu", "--jobs", "2")
    assert (code, err) == (0, "")
    assert "started" not in out
    assert files(space.base) == before


@pytest.mark.slow
def test_seeds_share_a_row_and_every_test_has_a_table(suite, space):
    file = suite(SEEDS=[0, 1])
    code, out, err = space.script("run_suite.py", file, "--devices", "cpu", "--jobs", "2")
    assert (code, err) == (0, "")
    assert "6 cells: 6 done" in out
    assert "Glyphs test 3-way 1-shot, 20 episodes" in out
    assert "Glyphs test 3-way 2-shot, 20 episodes" in out
    assert len(list((space.base / "pretrained").glob("*.pth"))) == 2  # one for each seed
    for form in ("markdown", "latex", "csv"):
        code, table, err = space.script("run_suite.py", file, "--table", form)
        assert (code, err) == (0, "")
        assert "Glyphs_Scaled" in table.replace("\\_", "_")


@pytest.mark.slow
def test_a_new_test_trains_nothing_again(suite, space):
    runs = [str(space.path / "Proto.yaml")]
    assert space.script("run_suite.py", suite(RUNS=runs), "--devices", "cpu")[0] == 0
    (cell,) = read_suite(suite(RUNS=runs))
    trained = best(cell.run.path).read_bytes(), (cell.run.path / "last.pth").read_bytes()
    more = suite(RUNS=runs, TESTS=[{}, {"OPTIONS": ["--shots", 2]}, {"OVERRIDES": ["TASK.TEST.WAY=4"]}])
    assert space.script("run_suite.py", more, "--status")[1].startswith("incomplete")
    assert space.script("run_suite.py", more, "--devices", "cpu")[0] == 0
    assert (best(cell.run.path).read_bytes(), (cell.run.path / "last.pth").read_bytes()) == trained
    assert len(list(cell.run.path.glob("eval/*/*/result.json"))) == 3


@pytest.mark.slow
def test_an_edited_suite_does_not_show_the_results_of_the_former_one(suite, space):
    runs = [str(space.path / "Proto.yaml")]
    assert space.script("run_suite.py", suite(RUNS=runs, TESTS=[{}]), "--devices", "cpu")[0] == 0
    edited = suite(RUNS=runs, TESTS=[{}], OVERRIDES=["EVAL.EPISODES=30"])
    assert space.script("run_suite.py", edited, "--status")[1].startswith("incomplete")
    assert space.script("run_suite.py", edited, "--devices", "cpu")[0] == 0
    (folder,) = Record(read_suite(edited)[0]).result_folders()
    assert folder.endswith("_30")
    edited = suite(RUNS=runs, TESTS=[{}], OVERRIDES=["STAGE.meta.OPTIM.LR=0.5"])
    assert space.script("run_suite.py", edited, "--status")[1].startswith("incomplete")
    code, out, _ = space.script("run_suite.py", edited, "--devices", "cpu")
    assert code == 2
    assert "holds a run of another config (differs in STAGE.meta.OPTIM.LR)" in out


def test_a_cell_that_another_process_has_begun_meanwhile_is_left_alone(suite, space, monkeypatch):
    cfg = str(space.path / "Proto.yaml")
    cells = read_suite(suite(RUNS=[cfg, {"CFG": cfg, "TAG": "second"}]))
    lines, called = [], []

    def call(self, name, arguments, record):
        called.append(arguments)
        process = this_process()
        Record(cells[1]).note(pid=process.pid, process_started=process.started)

    monkeypatch.setattr(LocalRunner, "_call", call)
    assert LocalRunner(cells, ["cpu"], 1, 1, lines.append).run() == [cells[0]]
    assert len(called) == 1
    assert lines[-1] == "left alone  Glyphs_Proto_second: another process has begun it"


@pytest.mark.slow
def test_a_cell_that_fails_does_not_stop_the_others(suite, space):
    cfg = str(space.path / "Proto.yaml")
    file = suite(RUNS=[{"CFG": cfg, "TAG": "wild", "OVERRIDES": ["STAGE.meta.OPTIM.LR=1e30"]}, cfg])
    code, out, err = space.script("run_suite.py", file, "--devices", "cpu")
    assert code == 2
    assert "1 of 2 cells failed, Glyphs_Proto_wild; their logs are in" in err
    assert "the loss became" in out
    assert "2 cells: 1 failed  1 done" in out
    assert "the loss became" in space.script("run_suite.py", file, "--status")[1]


@pytest.mark.slow
def test_a_killed_suite_goes_on(suite, space):
    """Killed while cells train, it ends with the same checkpoints as an undisturbed one."""
    keys = {"OVERRIDES": ["STAGE.meta.EPOCHS=12"], "TESTS": [{}]}
    undisturbed = suite(**keys)
    assert space.script("run_suite.py", undisturbed, "--devices", "cpu", "--jobs", "2")[0] == 0
    expected = [best(cell.run.path).read_bytes() for cell in read_suite(undisturbed)]
    disturbed = suite(BASE=str(space.path / "disturbed"), **keys)
    script = [sys.executable, str(EXPERIMENTS / "run_suite.py"), str(disturbed), "--devices", "cpu", "--jobs", "2"]
    running = subprocess.Popen(script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cells = read_suite(disturbed)
    deadline = time.time() + 60
    while not any(progress(cell).epochs > 3 for cell in cells) and time.time() < deadline:
        time.sleep(0.05)
    running.kill()
    for cell in cells:
        pid = Record(cell).read().get("pid")
        if progress(cell).state == "running":
            subprocess.run(["kill", "-9", str(pid)], check=False)
    running.wait()
    while any(progress(cell).state == "running" for cell in cells) and time.time() < deadline:
        time.sleep(0.05)
    assert any(progress(cell).state == "incomplete" for cell in cells)
    assert space.script("run_suite.py", disturbed, "--devices", "cpu", "--jobs", "2")[0] == 0
    for cell, content in zip(cells, expected, strict=True):
        assert _weights(best(cell.run.path)) == _weights_of(content)


def _weights(file):
    return _weights_of(file.read_bytes())


def _weights_of(content):
    import io

    import torch

    saved = torch.load(io.BytesIO(content), weights_only=True)["method"]
    return {name: value.tolist() for name, value in saved.items()}


def test_the_status_says_how_far_a_cell_is_and_cancel_stops_it(suite, space):
    file = suite(RUNS=[str(space.path / "Proto.yaml")], OVERRIDES=["STAGE.meta.EPOCHS=3000"], TESTS=[{}])
    script = [sys.executable, str(EXPERIMENTS / "run_suite.py"), str(file), "--devices", "cpu"]
    (cell,) = read_suite(file)
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            deadline = time.time() + 300  # for a machine that does much else
            while progress(cell).epochs < 3 and time.time() < deadline:
                time.sleep(0.05)
            line = space.script("run_suite.py", file, "--status")[1].splitlines()[0]
        finally:
            stopped = space.script("run_suite.py", file, "--cancel")[2]
            running.communicate(timeout=60)
    assert line.startswith("running")
    assert " of 3000  best val " in line
    assert "of training left" in line
    assert stopped == "stopped  Glyphs_Proto\n"
    assert running.returncode == 2
    assert progress(cell).state in ("failed", "incomplete")


def test_cancel_sends_no_signal_to_a_process_that_only_has_the_number_of_a_former_one(suite, space, monkeypatch):
    """The notes of a killed suite name a process; meanwhile another machine runs the cell."""
    file = suite(RUNS=[str(space.path / "Proto.yaml")])
    (cell,) = read_suite(file)
    Record(cell).note(pid=os.getpid(), process_started=-1.0)
    cell.run.path.mkdir()
    (cell.run.path / ".lock").touch()
    cell.run.set_state("running", host="another", pid=os.getpid(), started=None)
    sent = []
    monkeypatch.setattr(os, "kill", lambda *signal: sent.append(signal))
    assert progress(cell).state == "running"
    err = space.script("run_suite.py", file, "--cancel")[2]
    assert (sent, err) == ([], "left alone  Glyphs_Proto: it runs on another machine\n")


def test_a_cell_that_is_stopped_ends_the_suite(suite, monkeypatch):
    def stopped(self, name, arguments, record):
        record.note(exit=130)

    monkeypatch.setattr(LocalRunner, "_call", stopped)
    lines = []
    failed = LocalRunner(read_suite(suite()), ["cpu"], 1, 1, lines.append).run()
    assert len(failed) == 1
    assert [line.partition(" ")[0] for line in lines if line.startswith("started")] == ["started"]


@pytest.mark.parametrize("notes", ["[]", "{", '{"pid": "\\ud800", "results": 3, "started": "x"}', "[" * 10_000])
def test_odd_notes_of_a_cell_are_as_none(suite, space, notes):
    file = suite(RUNS=[str(space.path / "Proto.yaml")])
    (cell,) = read_suite(file)
    Record(cell).note(exit=1)
    (notes_file,) = (space.base / "suites").glob("*.json")
    notes_file.write_text(notes)
    cell.run.path.mkdir()
    (cell.run.path / "metrics.jsonl").write_text("[1]\n")
    assert progress(cell).state == "incomplete"
    Record(cell).note(exit=1)
    assert Record(cell).read() == {"exit": 1}


def test_a_table_needs_results(suite, space):
    sentence = space.script("run_suite.py", suite(), "--table", "markdown")[2]
    assert "no cell is done; run the suite first" in sentence
