"""The steps of an epoch: one update a loss, what the backbone drops, and the step at which a loss went wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.backbones.resnet12 import DropBlock
from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_method
from core.engine.optim import Recipe
from core.engine.steps import _train_mode, _update
from core.objectives.loss import Loss
from tests.workspace import PROTONET


def test_each_loss_has_an_update_and_one_without_gradient_has_none():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    method = nn.ParameterList([weight])
    recipe = Recipe(name="sgd", lr=0.1, weight_decay=0.5)
    optimizer = recipe.optimizer([{"params": [weight], "lr": 0.1}])
    assert _update(method, optimizer, recipe, [(Loss(torch.zeros(())), 1.0)]) == 0
    assert weight.tolist() == [1.0, -2.0]
    assert _update(method, optimizer, recipe, [(Loss(weight.sum()), 1.0), (Loss(torch.zeros(())), 1.0)]) == -1
    torch.testing.assert_close(weight.detach(), torch.tensor([1 - 0.1 * 1.5, -2 - 0.1 * 0.0]))


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
