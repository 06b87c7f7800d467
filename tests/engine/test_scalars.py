"""What an epoch's record says about margins and answers."""

from __future__ import annotations

import json
import re

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from core.build.config import load_config
from core.build.data import Data
from core.objectives.base import Objective
from tests.workspace import TWO_STAGES, interrupt_in

BASE = TWO_STAGES["STAGE"]["base"]
KEYS = ("STREAM", "EPOCHS", "STEPS", "OPTIM", "VAL")
TREE = TWO_STAGES | {
    "METHOD": {"NAME": "NegMargin", "ARGS": {"head_passes": 2, "scale": 10.0}},
    "OBJECTIVE": {"NAME": "negmargin", "ARGS": {"margin": -0.4, "ramp": 1.0}},
    "STAGES": ["base"],
    "STAGE": {"base": {key: BASE[key] for key in KEYS}},
}


def records(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_margin_of_each_epoch_and_its_bonus_are_in_the_log(space):
    run = space.train(space.config(TREE), "STAGE.base.EPOCHS=4")
    epochs = records(run)
    steps = epochs[0]["step"]
    last = [(epoch * steps - 1) / (4 * steps) for epoch in (1, 2, 3, 4)]  # progress at the last step of each epoch
    assert [r["margin"] for r in epochs] == pytest.approx([-0.4 * p for p in last])
    assert [r["delta"] for r in epochs] == pytest.approx([4 * p for p in last])
    assert f"delta {epochs[-1]['delta']:.4g}" in (run / "train.log").read_text()


def test_a_learned_scale_moves_the_bonus(space):
    run = space.train(space.config(TREE), "METHOD.ARGS.learn_scale=true", "OBJECTIVE.ARGS.ramp=0")
    scales = [-r["delta"] / r["margin"] for r in records(run)]
    assert len({10.0, *scales}) == len(scales) + 1


def test_training_accuracy_is_without_the_margin(space, monkeypatch):
    """A bonus of 80 makes every shifted answer right; those that count are not shifted."""
    right = []
    real = Objective.__call__

    def counted(self, logits, y, *rest):
        right.append((logits.argmax(-1) == y).double().mean())
        return real(self, logits, y, *rest)

    monkeypatch.setattr(Objective, "__call__", counted)
    run = space.train(space.config(TREE), "STAGE.base.EPOCHS=1", "OBJECTIVE.ARGS={margin: -8.0}")
    (epoch,) = records(run)
    batches = torch.stack(right)
    assert batches.mean() < 0.9
    builder = Data(load_config(space.path / "Proto.yaml").cfg, torch.device("cpu"))
    images, size = len(builder.split("train").labels), builder.cfg.STAGE.base.BATCH
    sizes = torch.tensor([min(size, images - i * size) for i in range(len(batches))], dtype=torch.float64)
    assert epoch["train_accuracy"] == pytest.approx(float(100 * (batches * sizes).sum() / images))


def test_every_method_that_uses_its_objective_has_a_training_accuracy(space):
    run = space.train(space.config())
    for record in records(run):
        assert 0 <= record["train_accuracy"] <= 100
        assert "delta" not in record


def curves(run):
    """What TensorBoard's Python loader reads: steps of each curve."""
    board = EventAccumulator(str(run / "tb")).Reload()
    return {tag: [event.step for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def test_tensorboard_keeps_every_stage(space):
    run = space.train(space.config(TWO_STAGES))
    steps = [(record["stage"], record["step"]) for record in records(run)]
    base = [step for stage, step in steps if stage == "base"]
    assert curves(run)["base/loss"] == base
    assert curves(run)["meta/loss"] == [base[-1] + step for stage, step in steps if stage == "meta"]


@pytest.mark.parametrize(("stage", "epoch"), [("base", 1), ("meta", 2)])
def test_tensorboard_keeps_every_epoch_before_a_resume(space, monkeypatch, stage, epoch):
    cfg = space.config(TWO_STAGES)
    interrupt_in(monkeypatch, stage, epoch)
    with pytest.raises(KeyboardInterrupt):
        space.train(cfg)
    run = space.train(cfg, resume=True)
    assert [len(curves(run)[f"{name}/val"]) for name in ("base", "meta")] == [2, 3]


def test_tensorboard_shows_the_settings_once(space, monkeypatch):
    cfg = space.config()
    interrupt_in(monkeypatch, "meta", 1)
    with pytest.raises(KeyboardInterrupt):
        space.train(cfg)
    run = space.train(cfg, resume=True)
    board = EventAccumulator(str(run / "tb")).Reload()
    settings = board.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = HParamsPluginData.FromString(settings).session_start_info.hparams
    assert hparams["BACKBONE.ARGS.width"].number_value == 8
    assert hparams["METHOD.NAME"].string_value == "ProtoNet"
    with_settings = [f for f in (run / "tb").iterdir() if b"session_start_info" in f.read_bytes()]
    assert len(with_settings) == 1


def test_the_log_says_of_how_many_epochs_and_how_long(space):
    run = space.train(space.config())
    lines = [line for line in (run / "train.log").read_text().splitlines() if "meta epoch" in line]
    assert [re.search(r"meta epoch \d of \d", line)[0] for line in lines] == [f"meta epoch {n} of 3" for n in (1, 2, 3)]
    assert re.search(r"\(\S+ s, about \S+ s left\)$", lines[0])
    assert re.search(r"\(\S+ s\)$", lines[2])
