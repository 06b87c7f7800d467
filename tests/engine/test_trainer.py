"""The loop: a step may see a task and a batch, and a stage decides what its backbone drops."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from torch import nn

from core.backbones.resnet12 import DropBlock
from core.build.config import load_config, schemas
from core.build.data import Data
from core.build.networks import build_method
from core.build.training import build_trainer
from core.engine.optim import Recipe
from core.engine.trainer import _train_mode, _update
from core.methods.protonet import ProtoNet
from core.objectives.loss import Loss
from core.registry import METHODS
from core.report.run import RunFolder


class WithClassifier(ProtoNet):
    """Prototypes, and a linear classifier over the base classes beside them."""

    streams = ("episodes", "batches")

    def __init__(self, backbone, info):
        super().__init__(backbone, info)
        self.linear = nn.Linear(backbone.vector_dim, info.n_base)
        self.seen = []

    def batch_logits(self, batch):
        return self.linear(batch.inputs["vector"])

    def loss(self, item):
        loss = super().loss(item)
        self.seen.append((type(item).__name__, float(loss.value.detach())))
        return loss


@pytest.mark.parametrize(("updates", "order"), [("joint", ["Task", "Batch"]), ("each", ["Batch", "Task"])])
def test_a_step_sees_a_task_and_a_batch(tiny_root, tmp_path, monkeypatch, updates, order):
    schemas()  # every shipped method is registered before the list is replaced
    monkeypatch.setattr(METHODS, "_classes", {**METHODS._classes, "WithClassifier": WithClassifier})
    cfg = tmp_path / "both.yaml"
    cfg.write_text(
        yaml.safe_dump(
            {
                "DATASET": {"ROOT": str(tiny_root), "SIZE": 16},
                "TASK": {"TEST": {"WAY": 3, "QUERY": 2}},
                "BACKBONE": {"ARGS": {"width": 8}},
                "METHOD": {"NAME": "WithClassifier"},
                "STAGE": {
                    "meta": {"STREAM": "both", "UPDATES": updates, "EPOCHS": 1, "STEPS": 2, "VAL": {"EPISODES": 2}}
                },
            }
        )
    )
    builder = Data(load_config(cfg).cfg, torch.device("cpu"))
    run = RunFolder(tmp_path / "run")
    trainer = build_trainer(builder, run, "both", tmp_path / "pretrained")
    (stage,) = trainer._stages
    trainer.fit()
    assert [name for name, _ in stage.method.seen] == order * 2
    recorded = json.loads((run.path / "metrics.jsonl").read_text())["loss"]
    assert recorded == pytest.approx(sum(loss for _, loss in stage.method.seen) / 2)


def test_each_loss_has_an_update_and_one_without_gradient_has_none():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    method = nn.ParameterList([weight])
    recipe = Recipe(name="sgd", lr=0.1, weight_decay=0.5)
    optimizer = recipe.optimizer([{"params": [weight], "lr": 0.1}])
    assert _update(method, optimizer, recipe, [Loss(torch.zeros(()))]) == 0
    assert weight.tolist() == [1.0, -2.0]
    assert _update(method, optimizer, recipe, [Loss(weight.sum()), Loss(torch.zeros(()))]) == -1
    torch.testing.assert_close(weight.detach(), torch.tensor([1 - 0.1 * 1.5, -2 - 0.1 * 0.0]))


@pytest.mark.parametrize("dropout", [True, False])
def test_dropout_of_the_backbone_alone(tiny_root, dropout):
    keys = ["BACKBONE.NAME=ResNet12", "BACKBONE.ARGS={drop_rate: 0.5}", f"STAGE.meta.DROPOUT={dropout}"]
    keys += [f"DATASET.ROOT={tiny_root}", "DATASET.SIZE=16", "TASK.TEST.QUERY=3"]
    built = Data(load_config("configs/Glyphs/MML_N5K1_C4.yaml", keys).cfg, torch.device("cpu"))
    method = build_method(built, "meta")
    _train_mode(method, frozen_bn=False, dropout=built.cfg.STAGE.meta.DROPOUT)
    drops = [m for m in method.backbone.modules() if isinstance(m, nn.Dropout | DropBlock)]
    assert [m.training for m in drops] == [dropout] * 4
    assert method.graph.dropout.training
    assert all(m.training for m in method.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    images = torch.randn(3, 3, 16, 16)
    twice = [method.backbone(images)["vector"] for _ in range(2)]
    assert torch.equal(*twice) is not dropout
