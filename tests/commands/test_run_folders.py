"""A run folder has one trainer, holds one run, and loses nothing but what a run wrote."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch

from core.engine.evaluator import Evaluator
from core.engine.steps import Epoch
from core.locks import Lock
from core.report.run import RunFolder
from tests.workspace import PROTONET, TWO_STAGES, files, in_second_step, interrupt_in, same_run, state

CFG = PROTONET | {"STAGE": {"meta": {"EPOCHS": 3, "STEPS": 4, "VAL": {"EPISODES": 10}}}}


@pytest.fixture
def run(space):
    """Where the run of the workspace's config goes."""
    return space.base / "Glyphs_Proto"


@pytest.mark.parametrize("names", [["thesis.tex"], ["config.yaml", "notes/a.txt"], ["eval/mine.txt"], ["last.pth"]])
def test_overwrite_deletes_no_folder_without_a_run(space, refused, names):
    home = space.path / "home"
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("precious")
    cfg = space.config(CFG)
    said = refused("run_trainer.py", "--cfg", cfg, "-d", "cpu", "-p", home, "--overwrite")
    assert said.startswith(f"{home} holds files, but no run (no config.yaml of one), so --overwrite does not delete it")


def test_overwrite_deletes_only_what_a_run_writes(space, run):
    cfg = space.config(CFG)
    space.train(cfg)
    (run / "notes.txt").write_text("mine")
    outside = space.path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    (run / "eval").symlink_to(outside)
    assert space.trainer(cfg, "METHOD.ARGS.scale=0.5", "--overwrite", "-e", "0")[0] == 0
    assert (run / "notes.txt").read_text() == "mine"
    assert (outside / "kept.txt").read_text() == "kept"
    assert not (run / "eval").exists()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_overwrite_through_a_link_keeps_the_link(space, run):
    """A link to a run is that run; a link to anything else is refused as that would be."""
    cfg = space.config(CFG)
    space.train(cfg)
    link, home = space.path / "link", space.path / "home"
    link.symlink_to(run, target_is_directory=True)
    assert space.trainer(cfg, "METHOD.ARGS.scale=0.5", "-p", link, "--overwrite", "-e", "0")[0] == 0
    assert link.is_symlink()
    assert "scale: 0.5" in (run / "config.yaml").read_text()
    home.mkdir()
    (home / "notes.txt").write_text("mine")
    link.unlink()
    link.symlink_to(home, target_is_directory=True)
    assert space.trainer(cfg, "-p", link, "--overwrite", "-e", "0")[0] == 2
    assert [path.name for path in home.iterdir()] == ["notes.txt"]


def test_overwrite_of_an_empty_folder_starts_a_run(space, run):
    run.mkdir(parents=True)
    assert space.trainer(space.config(CFG), "--overwrite", "-e", "0")[0] == 0


@pytest.mark.parametrize("option", [[], ["--resume"], ["--overwrite"]])
def test_a_second_trainer_is_refused(space, run, refused, option):
    cfg = space.config(CFG)
    if option:
        space.train(cfg)
    run.mkdir(parents=True, exist_ok=True)
    lock = Lock(run / ".lock")
    assert lock.acquire() is None
    said = refused("run_trainer.py", "--cfg", cfg, "-c", space.base, "-d", "cpu", *option)
    assert said.startswith(f"{run} is in use: process {os.getpid()} on ")
    lock.release()
    assert space.trainer(cfg, "-e", "0", *option)[0] == 0
    assert not (run / ".lock").exists()


def test_a_run_is_locked_while_it_trains(space, run, monkeypatch):
    holders = []
    in_second_step(monkeypatch, "meta", 1, lambda: holders.append(Lock(run / ".lock").acquire()))
    space.train(space.config(CFG))
    assert [holder.pid for holder in holders] == [os.getpid()]


def test_a_second_trainer_of_a_shared_stage_waits_and_reuses_it(space, monkeypatch):
    """While it waits for the lock, the first one completes the stage."""
    cfg = space.config(TWO_STAGES, "Two.yaml")
    space.train(cfg)
    (complete,) = (space.base / "pretrained").glob("*.pth")
    content = complete.read_bytes()
    complete.unlink()
    lock = Lock(complete.with_name(f".{complete.name}.lock"))
    assert lock.acquire() is None

    def wait(seconds):
        complete.write_bytes(content)
        lock.release()

    monkeypatch.setattr("core.locks.time.sleep", wait)
    code, out, _ = space.trainer(cfg, "-e", "0", "--tag", "second")
    assert code == 0
    assert f"stage base: waiting for process {os.getpid()} on " in out
    assert f"stage base: reusing {complete}" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_and_the_run_goes_on_from_there(space, run, monkeypatch, number, code):
    cfg = space.config(CFG)
    whole = space.train(cfg, tag="whole")
    in_second_step(monkeypatch, "meta", 1, lambda: os.kill(os.getpid(), number))
    assert space.trainer(cfg, "-e", "0")[0] == code
    assert state(run) == {"state": "interrupted", "why": signal.Signals(number).name}
    last = torch.load(run / "last.pth", weights_only=True)
    assert (last["progress"]["epoch"], last["partial"]["step"]) == (1, 2)
    assert space.trainer(cfg, "-e", "0", "--resume")[0] == 0
    assert same_run(run, whole)


def test_a_signal_in_validation_keeps_the_steps(space, run, monkeypatch):
    cfg = space.config(CFG)
    whole = space.train(cfg, tag="whole")
    validate = Evaluator.run

    def stop(self, method, episodes):
        if episodes > 1:  # no rehearsal
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(self, method, episodes)

    with monkeypatch.context() as patched:
        patched.setattr(Evaluator, "run", stop)
        assert space.trainer(cfg, "-e", "0")[0] == 143
    assert torch.load(run / "last.pth", weights_only=True)["partial"]["step"] == 4
    assert space.trainer(cfg, "-e", "0", "--resume")[0] == 0
    assert same_run(run, whole)


def test_an_epoch_stopped_twice_equals_one_that_was_not(space, run, monkeypatch):
    """What the log notes of the steps goes on from the checkpoint as well."""
    cfg = space.config(CFG | {"OBJECTIVE": {"NAME": "naml"}})
    whole = space.train(cfg, tag="whole")
    taken = Epoch._take_one

    def stop_in_the_last_epoch(self, stage, optimizer, step):
        taken(self, stage, optimizer, step)
        if step >= 8:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Epoch, "_take_one", stop_in_the_last_epoch)
        for step in (1, 2, 3, 4):
            assert space.trainer(cfg, "-e", "0", *(["--resume"] if step > 1 else []))[0] == 143
            assert torch.load(run / "last.pth", weights_only=True)["partial"]["step"] == step
    assert space.trainer(cfg, "-e", "0", "--resume")[0] == 0
    assert same_run(run, whole)


@pytest.mark.parametrize("lost", [["config.yaml"], ["config.yaml", "diff.txt", "status.json"]])
def test_a_checkpoint_without_its_config_is_not_resumed(space, run, refused, lost):
    cfg = space.config(CFG)
    space.train(cfg)
    for name in lost:
        (run / name).unlink()
    for option in ([], ["--resume"]):
        said = refused("run_trainer.py", "--cfg", cfg, "-c", space.base, "-d", "cpu", *option)
        assert said.startswith(f"{run} holds ")
        assert "but no config.yaml that says of which run" in said
    assert space.trainer(cfg, "--overwrite", "-e", "0")[0] == 0


@pytest.mark.parametrize("split", ["train", "val"])
def test_resume_refuses_other_data(space, run, refused, monkeypatch, tiny_root, split):
    root = space.path / "data"
    shutil.copytree(tiny_root, root)
    cfg = space.config(CFG, DATASET={"ROOT": str(root), "SIZE": 16})
    interrupt_in(monkeypatch, "meta", 1)
    assert space.trainer(cfg)[0] == 130
    folder = root / "Glyphs" / "16px" / split
    images = np.load(folder / "images.npy")
    images[0] ^= 1
    np.save(folder / "images.npy", images)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"pixels_sha256": "0" * 64}))
    said = refused("run_trainer.py", "--cfg", cfg, "-c", space.base, "-d", "cpu", "--resume")
    assert said.startswith(f"{run / 'last.pth'} was learned from other images of the {split} split than there")


def test_the_files_of_dead_writers_are_removed_at_the_next_start(space, run):
    cfg = space.config(CFG)
    space.train(cfg)
    (run / ".last.pth.99999999").write_bytes(b"half")
    (run / ".hidden.txt").write_text("mine")
    assert space.trainer(cfg, "-e", "0", "--resume")[0] == 0
    assert not (run / ".last.pth.99999999").exists()
    assert (run / ".hidden.txt").exists()


def test_the_state_of_a_dead_process_is_not_running(space, run):
    run.mkdir(parents=True)
    folder = RunFolder(run)
    folder.set_running()
    assert folder.state() == "running"
    content = state(run)
    assert content["pid"] == os.getpid()
    (run / "status.json").write_text(json.dumps(content | {"started": 1.0}))
    assert folder.state() == "interrupted"
    (run / "status.json").write_text(json.dumps(content | {"host": "far-away"}))
    assert folder.state() == "interrupted"
    (run / ".lock").touch()
    assert folder.state() == "running"


@pytest.mark.parametrize("content", ["[]", '{"state": "running"}', "\x00", "{}"])
def test_a_damaged_status_is_no_state(run, content):
    run.mkdir(parents=True)
    (run / "status.json").write_text(content)
    assert RunFolder(run).state() == "unfinished"


def test_a_run_that_cannot_start_leaves_no_folder(space, run, monkeypatch):
    monkeypatch.setattr(RunFolder, "begin", lambda self, *args: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        space.train(space.config(CFG))
    assert files(space.base) == {}
    assert not run.exists()


def test_hidden_files_of_the_user_stay_and_what_a_killed_run_left_goes(space):
    home = space.path / "home"
    home.mkdir()
    for name in (".accounts.2024", ".python-3.12", ".last.pth.4711"):
        (home / name).write_text("content")
    with RunFolder(home).kept_from_others(False):
        assert sorted(path.name for path in home.iterdir() if path.name != ".lock") == [
            ".accounts.2024",
            ".python-3.12",
        ]
