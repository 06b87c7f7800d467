"""The steps of an epoch: one update a loss, what the backbone drops, and the step at which a loss went wrong."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from core.backbones.resnet12 import DropBlock
from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_method
from core.build.training import build_trainer
from core.engine.checkpoint import load
from core.engine.optim import Recipe
from core.engine.stage_run import StageRun
from core.engine.steps import Epoch, _draws, _train_mode, _update
from core.engine.stopwatch import PARTS, Stopwatch
from core.methods.protonet import ProtoNet
from core.objectives.loss import Loss
from core.ops import random
from core.ranks import Ranks
from core.report.run import RunFolder
from tests.workspace import META, PROTONET, interrupt_in


def test_each_loss_has_an_update_and_one_without_gradient_has_none():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    method = nn.ParameterList([weight])
    recipe = Recipe(name="sgd", lr=0.1, weight_decay=0.5)
    optimizer = recipe.optimizer([{"params": [weight], "lr": 0.1}])
    watch = Stopwatch(torch.device("cpu"))
    assert _update(method, optimizer, recipe, [[(Loss(torch.zeros(())), 1.0)]], watch) == 0
    assert weight.tolist() == [1.0, -2.0]
    losses = [(Loss(weight.sum()), 1.0), (Loss(torch.zeros(())), 1.0)]
    assert _update(method, optimizer, recipe, [losses], watch) == -1
    torch.testing.assert_close(weight.detach(), torch.tensor([1 - 0.1 * 1.5, -2 - 0.1 * 0.0]))


def test_each_process_draws_masks_of_its_own(monkeypatch):
    stage = SimpleNamespace(seed=3, name="meta")
    alone = _draws(stage, 7)
    seeds = []
    for number in range(3):
        monkeypatch.setattr("core.engine.steps.current", lambda number=number: Ranks(number, 3))
        seeds.append(_draws(stage, 7))
    assert seeds[0] == alone == random.key("step", 3, "meta", 7) & 0x7FFFFFFF
    assert len(set(seeds)) == 3


def test_scalars_are_read_without_gradients():
    temperature = nn.Parameter(torch.zeros(()))

    def scalars(progress):  # a warning, which is an error in tests, where the tensor had a gradient
        assert not torch.is_grad_enabled()
        return {"temperature": float(temperature.exp()), "progress": progress}

    stage = SimpleNamespace(
        name="meta", steps=2, progress=lambda step: step / 4, method=SimpleNamespace(scalars=scalars)
    )
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    record = Epoch(0, torch.device("cpu")).record(stage, optimizer, 1.0, 1.0)
    assert (record["temperature"], record["progress"]) == (1.0, 0.25)


@pytest.mark.parametrize("dropout", [True, False])
def test_dropout_of_the_backbone_alone(tiny_root, dropout):
    keys = ["BACKBONE.NAME=ResNet12", "BACKBONE.ARGS={drop_rate: 0.5}", f"STAGE.meta.DROPOUT={dropout}"]
    keys += [f"DATASET.ROOT={tiny_root}", "DATASET.SIZE=16", "TASK.TEST.QUERY=3"]
    built = Data(load_config("configs/Glyphs/MML_N5K1_C4.yaml", keys).cfg, torch.device("cpu"))
    method = build_method(built, "meta")
    _train_mode(method, frozen_backbone=False, frozen_bn=False, dropout=built.cfg.STAGE.meta.DROPOUT)
    drops = [m for m in method.backbone.modules() if isinstance(m, nn.Dropout | DropBlock)]
    assert [m.training for m in drops] == [dropout] * 4
    assert method.graph.dropout.training
    assert all(m.training for m in method.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    images = torch.randn(3, 3, 16, 16)
    twice = [method.backbone(images)["vector"] for _ in range(2)]
    assert torch.equal(*twice) is not dropout


def test_a_loss_that_is_not_finite_is_named_with_its_step_and_rate(space, monkeypatch):
    losses = iter([1.0, 1.0, float("nan"), 1.0] * 3)
    monkeypatch.setattr("core.engine.steps._update", lambda *rest: torch.tensor(next(losses)))
    code, _, err = space.trainer(space.config(PROTONET), "-e", "0")
    assert code == 2
    assert err.startswith("error: STAGE.meta: the loss became nan in step 3 (epoch 1, rate 0.001); lower OPTIM.LR")


def test_an_epoch_without_a_gradient_ends_the_training(space, monkeypatch):
    forward = ProtoNet.forward
    monkeypatch.setattr(ProtoNet, "forward", lambda self, task: forward(self, task).detach())
    code, _, err = space.trainer(space.config(PROTONET), "-e", "0")
    assert code == 2
    assert err.startswith(
        "error: STAGE.meta.METHOD is ProtoNet, whose loss had a gradient in no step of epoch 1, so that nothing is"
    )


def test_one_step_with_a_gradient_is_enough_also_before_a_stop(space, monkeypatch):
    """A crash after the first step, with last.pth after each; the steps that are left have no gradient."""
    stop, forward, training = MemoryError("out of room"), ProtoNet.forward, []

    def first_alone(self, task):
        training.extend([1] * self.training)
        return forward(self, task).detach() if len(training) > 1 else forward(self, task)

    monkeypatch.setattr(ProtoNet, "forward", first_alone)
    cfg = space.config(PROTONET | {"STAGE": {"meta": META | {"EPOCHS": 1}}}, SAVE_MINUTES=0)
    interrupt_in(monkeypatch, "meta", 0, error=stop)
    with pytest.raises(MemoryError):
        space.train(cfg)
    last = torch.load(space.base / "Glyphs_Proto/last.pth", weights_only=True)
    assert last["partial"]["had_gradient"] is True
    assert space.trainer(cfg, "-e", "0", "--resume")[0] == 0
    assert len(training) == 4


def trained(root, folder, config, *keys):
    """The checkpoint after two steps without running statistics, and the record of the epoch."""
    keys = [*keys, f"DATASET.ROOT={root}", "DATASET.SIZE=16", "TASK.TEST.QUERY=3", "BACKBONE.ARGS={width: 8}"]
    keys += ["TASK.TRAIN.WAY=5", "TASK.TRAIN.QUERY=3"]
    keys += [f"STAGE.{'meta' if config == PROTO else 'base'}.{key}" for key in SHORT]
    data = Data(load_config(config, keys).cfg, torch.device("cpu"))
    run = RunFolder(folder)
    run.path.mkdir()
    (stage,) = build_trainer(data, run, "stem", folder)._stages
    StageRun(stage, run, torch.device("cpu"), None, 0, 0, 1e9).train()
    return load(run.last), json.loads((run.path / "metrics.jsonl").read_text())


PROTO, NEG = "configs/Glyphs/ProtoNet_N5K1_C4.yaml", "configs/Glyphs/NegMargin_N5K1_C4.yaml"
SHORT = ("EPOCHS=1", "STEPS=2", "VAL.EPISODES=2", "BN=frozen", "OPTIM.NAME=sgd", "OPTIM.LR=0.1", "OPTIM.CLIP=1.0")


@pytest.mark.parametrize(
    ("config", "step"), [(PROTO, ["STAGE.meta.TASKS=4"]), (NEG, ["STAGE.base.BATCH=13"])], ids=["episodes", "images"]
)
def test_a_step_in_parts_is_the_step_at_once(tiny_root, tmp_path, config, step):
    """Without batch statistics, gradients of the parts sum to those of the whole, also where the parts are unequal."""
    stage = "meta" if config == PROTO else "base"
    whole, record = trained(tiny_root, tmp_path / "whole", config, *step)
    parts, of_parts = trained(tiny_root, tmp_path / "parts", config, *step, f"STAGE.{stage}.ACCUMULATE=3")
    assert of_parts["loss"] == pytest.approx(record["loss"], rel=1e-5)
    assert of_parts["train_accuracy"] == record["train_accuracy"]
    for name, value in whole["method"].items():
        torch.testing.assert_close(parts["method"][name], value, rtol=1e-4, atol=1e-5)


def test_more_parts_than_episodes_are_refused(space):
    code, _, err = space.trainer(space.config(PROTONET | {"STAGE": {"meta": {"TASKS": 2, "ACCUMULATE": 3}}}))
    assert code == 2
    assert err.startswith(
        "error: STAGE.meta.ACCUMULATE is 3, but a step has 2 of STAGE.meta.TASKS; set it to 2 or less."
    )


def test_the_record_says_what_the_steps_cost(tiny_root, tmp_path):
    _, record = trained(tiny_root, tmp_path / "run", PROTO, "STAGE.meta.TASKS=2")
    cost = record["cost"]
    assert cost.keys() == {"images_per_second", *(f"{part}_seconds" for part in PARTS), "memory_mb"}
    seconds = 2 / record["steps_per_second"]
    assert all(cost[f"{part}_seconds"] > 0 for part in PARTS)
    assert sum(cost[f"{part}_seconds"] for part in PARTS) <= seconds
    assert cost["images_per_second"] == pytest.approx(2 * 2 * 5 * (1 + 3) / seconds)
    assert cost["memory_mb"] > 50
