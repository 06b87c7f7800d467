"""A moving average of the weights: its formula, what it validates and keeps, and that a resumed run continues it."""

from __future__ import annotations

import torch
from torch import nn

from core.engine.average import Average
from core.engine.checkpoint import load
from tests.workspace import PROTONET, interrupt_in, same_run


def test_it_is_the_recursion_of_the_docstring():
    trained = nn.BatchNorm1d(2)
    average = Average(trained, 0.75)
    expected = {name: value.double() for name, value in trained.state_dict().items()}
    for step in range(5):
        with torch.no_grad():
            trained.weight.copy_(torch.tensor([step, -2.0 * step]))
        trained(torch.randn(4, 2))
        average.follow()
        for name, value in trained.state_dict().items():
            moving = 0.75 * expected[name] + 0.25 * value.double()
            expected[name] = moving if value.is_floating_point() else value.double()
    for name, value in average.method.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-6, atol=1e-6)
    assert average.method.num_batches_tracked == 5


def test_without_decay_there_is_no_second_network():
    trained = nn.Linear(2, 2)
    average = Average(trained, 0.0)
    assert average.method is trained
    assert average.state() == {}


def test_the_average_is_kept_and_a_resumed_run_continues_it(space, monkeypatch):
    stage = {"EPOCHS": 3, "STEPS": 4, "EMA": 0.9, "VAL": {"EPISODES": 4, "EVERY": 1}, "SELECT": "last"}
    cfg = space.config(PROTONET | {"STAGE": {"meta": stage}})
    whole = space.train(cfg, tag="whole")
    last = load(whole / "last.pth")
    (best,) = whole.glob("ebest_*.pth")
    kept = load(best)["method"]
    assert all(torch.equal(kept[name], value) for name, value in last["average"].items())
    assert any(not torch.equal(kept[name], value) for name, value in last["method"].items())
    with monkeypatch.context() as patched:
        interrupt_in(patched, "meta", 2)
        assert space.trainer(cfg, "--tag", "stopped", "-e", "0")[0] == 130
    assert space.trainer(cfg, "--tag", "stopped", "-e", "0", "--resume")[0] == 0
    assert same_run(space.base / "Glyphs_Proto_stopped", whole)
