"""The compiled steps of the structured layer against those of PyTorch, which tests/methods/test_deepemd.py checks."""

from dataclasses import replace

import pytest
import torch

from core.errors import UserError
from core.ops.adapt import HeadSGD
from core.ops.emd.problem import solver_named
from core.ops.emd.structured import StructuredLayer

SIMPLEX = solver_named("simplex")
SGD = HeadSGD(passes=3, batch=4, lr=20.0, momentum=0.9, dampening=0.9, weight_decay=0.01)
LAYER = StructuredLayer(SGD, 12.5, SIMPLEX, weight_grad=True, centred=True)


def problem(tasks=3, shot=2, way=3, nodes=5, channels=7):
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(way).repeat_interleave(shot).expand(tasks, -1)
    support = torch.randn(tasks, way * shot, nodes, channels, generator=draw, dtype=torch.float64) + 0.3
    classes = support.unflatten(1, (way, shot)).mean(2)
    return classes, support, labels, torch.arange(tasks)


def by_torch(layer):
    """The same layer with a solver that has no compiled steps."""
    return replace(layer, solve=lambda *problem: SIMPLEX(*problem))


@pytest.mark.parametrize("weight_grad", [True, False])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
def test_both_ways_are_one(weight_grad, centred, pooled):
    pooling = torch.eye(5) + 0.1 * torch.arange(25.0).view(5, 5) / 25 if pooled else None
    layer = replace(LAYER, weight_grad=weight_grad, centred=centred, pooling=pooling)
    found = layer.fine_tuned(*problem())
    torch.testing.assert_close(found, by_torch(layer).fine_tuned(*problem()), rtol=0, atol=1e-10)
    assert (found - problem()[0]).abs().max() > 1e-2


def test_single_precision_stays_close():
    classes, support, *rest = problem()
    exact, found = (LAYER.fine_tuned(classes.to(to), support.to(to), *rest) for to in (torch.float64, torch.float32))
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-3)


def test_a_task_does_not_see_the_others():
    together = LAYER.fine_tuned(*problem())
    alone = [LAYER.fine_tuned(*(part[t : t + 1] for part in problem())) for t in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_what_is_given_stays_as_it_was():
    given, before = problem(), problem()
    LAYER.fine_tuned(*given)
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))


@pytest.mark.parametrize("layer", [LAYER, by_torch(LAYER)])
def test_nodes_without_length_are_no_trouble(layer):
    classes, support, labels, seed = problem()
    support[:, :2] = 0
    classes[:, 0] = 0
    assert layer.fine_tuned(classes, support, labels, seed).isfinite().all()


def test_no_steps_leave_the_classes():
    layer = replace(LAYER, sgd=replace(SGD, passes=0))
    assert torch.equal(layer.fine_tuned(*problem()), problem()[0])


@pytest.mark.parametrize(
    ("layer", "words"), [(LAYER, "sfc_lr is 20.0, and the fine-tuning"), (by_torch(LAYER), "costs that are not finite")]
)
def test_diverged_features_are_refused(layer, words):
    classes, support, labels, seed = problem()
    support[1, 3, 2, 1] = torch.nan
    with pytest.raises(UserError, match=words):
        layer.fine_tuned(classes, support, labels, seed)


def test_unsolved_programs_are_refused(monkeypatch):
    monkeypatch.setattr("core.ops.emd.structured.most_pivots", lambda n, m: 0)
    with pytest.raises(UserError, match=r"left \d+ of 162 problems unsolved after 0 pivots"):
        LAYER.fine_tuned(*problem())
