"""Margins are handed to any episodic method, also to those that no margin paper has tried."""

from __future__ import annotations

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_method
from core.build.training import build_streams

SMALL = ["BACKBONE.ARGS.width=8", "TASK.TRAIN.WAY=4", "TASK.TRAIN.QUERY=2", "TASK.TEST.QUERY=2"]
METHODS = ["MatchingNet", "RelationNet", "DN4", "MetaBaseline", "DeepEMD"]
METHODS += ["R2D2", "LR-D2", "MetaOptNet-RR", "MetaOptNet-SVM", "TapNet", "EPNet"]
METHODS += ["ANIL", "MTL", "iMAMLHead", "E3BM", "MAML", "BOIL", "MetaSGD", "iMAML", "CAML"]
METHODS += ["MAML++"]  # its value is that of the losses after all inner steps


@pytest.mark.parametrize("objective", ["naml", "craml", "traml"])
@pytest.mark.parametrize("method", METHODS)
def test_a_training_step_of_any_margin_on_any_episodic_method(glyphs, method, objective):
    keys = [f"DATASET.ROOT={glyphs}", *SMALL, f"OBJECTIVE.NAME={objective}", "OBJECTIVE.ARGS={}"]
    cfg = load_config(f"configs/Glyphs/{method}_N5K1_C4.yaml", keys).cfg
    builder, stage = Data(cfg, torch.device("cpu")), cfg.STAGES[-1]
    made = build_method(builder, stage).train()
    (stream,) = build_streams(builder, stage, made)
    task = stream.at(0, 0.0).encoded(made.encode)
    loss = made.loss(task).value
    loss.backward()
    assert loss.isfinite()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in made.backbone.parameters())
    if objective in ("naml", "craml") and method != "MAML++":  # positive margins make the task harder
        assert loss > torch.nn.functional.cross_entropy(made(task).flatten(0, 1), task.query_y.flatten())
