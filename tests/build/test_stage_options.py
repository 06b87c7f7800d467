"""What a stage may set for itself: the episodes that select its checkpoint, and whether its backbone drops."""

import pytest
import torch
from torch import nn

from core.backbones.resnet12 import DropBlock
from core.build.data import Data
from core.build.evaluation import build_evaluator
from core.build.networks import build_method, data_info
from core.engine.trainer import _train_mode
from core.make import load_config


def builder(tiny_root, config="MML", *overrides):
    keys = [f"DATASET.ROOT={tiny_root}", "DATASET.SIZE=16", "TASK.TEST.QUERY=3", *overrides]
    return Data(load_config(f"configs/Glyphs/{config}_N5K1_C4.yaml", keys).cfg, torch.device("cpu"))


def test_validation_episodes_of_a_stage(tiny_root):
    built = builder(tiny_root, "MML", "STAGE.base.VAL.WAY=4", "TASK.VAL.SHOT=2")
    shapes = [build_evaluator(built, "val", stage).sampler.shape for stage in ("base", "meta")]
    assert [(shape.way, shape.shot, shape.n_query) for shape in shapes] == [(4, 1, 12), (5, 2, 15)]


def test_a_stage_without_episodes_knows_no_way(tiny_root):
    built = builder(tiny_root)
    assert data_info(built, "base").way == 0
    assert (data_info(built, "meta").way, data_info(built, "meta").query) == (5, 6)


@pytest.mark.parametrize("dropout", [True, False])
def test_dropout_of_the_backbone_alone(tiny_root, dropout):
    keys = ["BACKBONE.NAME=ResNet12", "BACKBONE.ARGS={drop_rate: 0.5}", f"STAGE.meta.DROPOUT={dropout}"]
    built = builder(tiny_root, "MML", *keys)
    method = build_method(built, "meta")
    _train_mode(method, frozen_bn=False, dropout=built.cfg.STAGE.meta.DROPOUT)
    drops = [m for m in method.backbone.modules() if isinstance(m, nn.Dropout | DropBlock)]
    assert [m.training for m in drops] == [dropout] * 4
    assert method.graph.dropout.training
    assert all(m.training for m in method.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    images = torch.randn(3, 3, 16, 16)
    twice = [method.backbone(images)["vector"] for _ in range(2)]
    assert torch.equal(*twice) is not dropout
