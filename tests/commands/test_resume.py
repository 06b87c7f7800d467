"""A run that was cut short and resumed equals the one that was not."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F
import yaml

from core.engine.stage_run import StageRun
from core.errors import UserError
from core.methods.protonet import ProtoNet
from core.registry import METHODS
from core.report.run import RunFolder
from tests.workspace import EXPERIMENTS, PROTONET, best, files, interrupt_in, metrics, same_run, state

CFG = PROTONET | {"STAGE": {"meta": {"EPOCHS": 4, "STEPS": 4, "AUGMENT": ["crop-2", "flip"], "VAL": {"EPISODES": 20}}}}


def episodes(run):
    (file,) = run.glob("eval/*/*/episodes.csv")
    return file.read_bytes()


@pytest.fixture
def uninterrupted(space):
    return space.train(space.config(CFG), tag="whole", evaluate_after=True)


@pytest.mark.parametrize("epoch", [0, 2])
def test_resumed_equals_uninterrupted(space, uninterrupted, monkeypatch, epoch):
    cfg = space.config(CFG)
    interrupt_in(monkeypatch, "meta", epoch)
    code, _, err = space.trainer(cfg)
    run = space.base / "Glyphs_Proto"
    assert (code, err) == (130, "interrupted\n")
    assert state(run) == {"state": "interrupted", "why": "SIGINT"}
    assert len(metrics(run)) == epoch
    code, out, _ = space.trainer(cfg, "--resume")
    assert code == 0
    assert (f"resuming after epoch {epoch} of 4" in out) == (epoch > 0)
    assert ("nothing to resume" in out) == (epoch == 0)
    assert same_run(run, uninterrupted)
    assert episodes(run) == episodes(uninterrupted)
    assert state(run) == {"state": "done"}


def test_a_start_where_nothing_is_to_be_resumed_says_so(space):
    code, out, _ = space.trainer(space.config(CFG), "--resume", "--tag", "mistyped", "STAGE.meta.EPOCHS=1")
    assert code == 0
    assert f"nothing to resume in {space.base}/Glyphs_Proto_mistyped: the training starts" in out


class Dropping(ProtoNet):
    """ProtoNet with dropout, which draws from torch's own generator."""

    def encode(self, pixels):
        return {name: F.dropout(value, 0.3, self.training) for name, value in super().encode(pixels).items()}


def test_dropout_resumes_too(space, monkeypatch):
    monkeypatch.setitem(METHODS._classes, "Dropping", Dropping)
    monkeypatch.setattr(Dropping, "name", "Dropping")
    cfg = space.config(CFG, METHOD={"NAME": "Dropping"})
    whole = space.train(cfg, tag="whole")
    interrupt_in(monkeypatch, "meta", 2)
    assert space.trainer(cfg)[0] == 130
    torch.rand(7)
    assert same_run(space.train(cfg, resume=True), whole)


def test_status_says_what_went_wrong(space, monkeypatch):
    cfg = space.config(CFG)
    interrupt_in(monkeypatch, "meta", 1, error=MemoryError("out of room"))
    with pytest.raises(MemoryError):
        space.train(cfg)
    assert state(space.base / "Glyphs_Proto") == {"state": "failed", "why": "MemoryError: out of room"}


def test_interrupted_between_the_files_of_an_epoch(space, uninterrupted, monkeypatch):
    """The best checkpoint and the curve are written before last.pth: both are written again, with the same values."""
    cfg, save = space.config(CFG), StageRun._save

    def stop(self, path, method, **more):
        if path.name == "last.pth" and more["progress"]["epoch"] == 3:
            raise KeyboardInterrupt
        save(self, path, method, **more)

    with monkeypatch.context() as patched:
        patched.setattr(StageRun, "_save", stop)
        assert space.trainer(cfg)[0] == 130
    run = space.base / "Glyphs_Proto"
    assert len(metrics(run)) == 3
    assert space.trainer(cfg, "--resume")[0] == 0
    assert same_run(run, uninterrupted)


def test_killed_process_can_be_resumed(space):
    """SIGKILL leaves no chance to clean up."""
    slow = CFG | {"STAGE": {"meta": CFG["STAGE"]["meta"] | {"EPOCHS": 25}}}
    cfg = space.config(slow)
    run = space.base / "Glyphs_Proto"
    command = [sys.executable, str(EXPERIMENTS / "run_trainer.py"), "--cfg", str(cfg), "-c", str(space.base)]
    process = subprocess.Popen(
        [*command, "-d", "cpu", "--threads", "1", "-e", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (run / "last.pth").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert state(run)["state"] == "running"
    assert RunFolder(run).state() == "interrupted"
    assert len(metrics(run)) < 25
    space.train(cfg, resume=True)
    assert same_run(run, space.train(cfg, tag="whole"))


def test_a_crash_within_an_epoch_costs_minutes(space, monkeypatch):
    """SAVE_MINUTES 0 writes last.pth after each step."""
    cfg = space.config(CFG, SAVE_MINUTES=0)
    uninterrupted = space.train(cfg, tag="whole")
    interrupt_in(monkeypatch, "meta", 2, error=MemoryError("out of room"))
    with pytest.raises(MemoryError):
        space.train(cfg)
    run = space.base / "Glyphs_Proto"
    last = torch.load(run / "last.pth", weights_only=True)
    assert (last["progress"]["epoch"], last["partial"]["step"]) == (2, 1)
    assert space.trainer(cfg, "--resume")[0] == 0
    assert same_run(run, uninterrupted)


def test_resuming_a_finished_run_only_evaluates_again(space):
    cfg = space.config(CFG)
    run = space.train(cfg)
    before = {name: content for name, content in files(run).items() if name.endswith((".pth", "metrics.jsonl"))}
    code, out, _ = space.trainer(cfg, "--resume")
    assert code == 0
    assert "resuming after epoch 4 of 4" in out
    assert "t-interval" in out
    after = files(run)
    assert before == {name: after[name] for name in before}
    assert any(name.startswith("eval/") for name in after)


def test_resume_without_a_run_starts_one(space):
    assert space.trainer(space.config(CFG), "--resume", "-e", "0")[0] == 0
    assert state(space.base / "Glyphs_Proto") == {"state": "done"}


def test_overwrite_starts_again(space):
    run = space.train(space.config(CFG))
    (run / "eval").mkdir()
    assert space.trainer(space.config(CFG), "METHOD.ARGS.scale=0.5", "--overwrite", "-e", "0")[0] == 0
    assert len(metrics(run)) == 4
    assert not (run / "eval").exists()
    assert torch.load(best(run), weights_only=True)["meta"]["method"]["ARGS"]["scale"] == 0.5


def test_train_log_keeps_what_was_said_before(space, monkeypatch):
    cfg = space.config(CFG)
    interrupt_in(monkeypatch, "meta", 2)
    space.trainer(cfg)
    space.trainer(cfg, "--resume", "-e", "0")
    text = (space.base / "Glyphs_Proto" / "train.log").read_text()
    assert [text.count(f"meta epoch {n} ") for n in (1, 2, 3, 4)] == [1, 1, 1, 1]


def test_a_run_of_an_older_version_goes_on(space):
    """Its config.yaml lacks a key that is new, and names an argument by its former name."""
    tree = PROTONET | {"METHOD": {"NAME": "MetaBaseline"}}
    cfg = space.config(tree)
    run = space.train(cfg, "STAGE.meta.EPOCHS=1")
    saved = yaml.safe_load((run / "config.yaml").read_text())
    del saved["EVAL"]["ALLWAY_QUERIES"]
    saved["METHOD"]["ARGS"]["tau"] = saved["METHOD"]["ARGS"].pop("scale")
    (run / "config.yaml").write_text(yaml.safe_dump(saved))
    code, _, err = space.trainer(cfg, "-e", "0", "--resume", "STAGE.meta.EPOCHS=1")
    assert (code, err) == (0, "")
    code, _, err = space.trainer(cfg, "-e", "0", "--resume", "STAGE.meta.EPOCHS=1", "STAGE.meta.OPTIM.LR=0.5")
    assert code == 2
    assert "differs in STAGE.meta.OPTIM.LR" in err


def test_a_run_goes_on_for_more_epochs(space):
    cfg = space.config(CFG)
    run = space.train(cfg, "STAGE.meta.EPOCHS=2")
    assert len(metrics(run)) == 2
    run = space.train(cfg, "STAGE.meta.EPOCHS=4", resume=True)
    assert same_run(run, space.train(cfg, "STAGE.meta.EPOCHS=4", tag="whole"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["STAGE.meta.OPTIM.SCHEDULE=cosine"], "SCHEDULE is cosine, whose rates depend on the number of epochs"),
        (["OBJECTIVE.NAME=negmargin", "OBJECTIVE.ARGS={margin: -0.1, ramp: 0.5}"], "the loss of ProtoNet depends on"),
    ],
)
def test_more_epochs_are_refused_where_the_earlier_ones_would_differ(space, overrides, says):
    cfg = space.config(CFG)
    run = space.train(cfg, "STAGE.meta.EPOCHS=2", *overrides)
    before = files(run)
    with pytest.raises(UserError, match=says):
        space.train(cfg, "STAGE.meta.EPOCHS=4", *overrides, resume=True)
    assert files(run) == before


def test_more_epochs_are_refused_where_the_run_validated_at_an_end_between(space):
    """An uninterrupted run would not have validated there, and its best epoch may be another one."""
    cfg, every = space.config(CFG), "STAGE.meta.VAL.EVERY=2"
    space.train(cfg, "STAGE.meta.EPOCHS=3", every)
    with pytest.raises(UserError, match=r"it validated at its end, epoch 3, which is no multiple of VAL\.EVERY \(2\)"):
        space.train(cfg, "STAGE.meta.EPOCHS=4", every, resume=True)


def test_fewer_epochs_and_a_run_without_resume_are_refused_as_before(space):
    cfg = space.config(CFG)
    space.train(cfg, "STAGE.meta.EPOCHS=2")
    for epochs, resume in ((1, True), (4, False)):
        with pytest.raises(UserError, match=r"differs in STAGE\.meta\.EPOCHS"):
            space.train(cfg, f"STAGE.meta.EPOCHS={epochs}", resume=resume)


def test_kept_epochs_resume_too(space, monkeypatch):
    """The epochs that are kept, and the ensemble of them, are those of the run that was not interrupted."""
    keeping = {"meta": CFG["STAGE"]["meta"] | {"KEEP": 2}}
    cfg = space.config(CFG | {"STAGE": keeping, "EVAL": {"EPISODES": 20, "ENSEMBLE": 2}})
    whole = space.train(cfg, tag="whole", evaluate_after=True)
    interrupt_in(monkeypatch, "meta", 3)
    assert space.trainer(cfg)[0] == 130
    assert space.trainer(cfg, "--resume")[0] == 0
    run = space.base / "Glyphs_Proto"
    assert len(list((whole / "epochs").iterdir())) == 2
    assert [f.name for f in sorted(run.glob("epochs/*"))] == [f.name for f in sorted(whole.glob("epochs/*"))]
    assert same_run(run, whole)
    assert episodes(run) == episodes(whole)
