"""The loop: a step may see a task and a batch, and a stage decides what its backbone drops."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import nn

from core.build.config import load_config, schemas
from core.build.data import Data
from core.build.training import build_trainer
from core.engine.trainer import Trainer
from core.errors import UserError
from core.methods.protonet import ProtoNet
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
    monkeypatch.setitem(METHODS._classes, "WithClassifier", WithClassifier)
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


def test_a_complete_stage_is_moved_to_where_others_find_it_and_a_removed_one_is_named(tmp_path):
    trainer = object.__new__(Trainer)
    trainer._ranks = SimpleNamespace(first=True)
    stage = SimpleNamespace(name="base", shared=tmp_path / "pretrained/base.pth", best=tmp_path / "best_base.pth")
    stage.best.write_bytes(b"weights")
    assert trainer._share(stage).read_bytes() == b"weights"
    assert not stage.best.exists()
    stage.shared.unlink()
    with pytest.raises(
        UserError, match=r"base\.pth, the network of stage base, was removed, and no steps of it are left"
    ):
        trainer._share(stage)
