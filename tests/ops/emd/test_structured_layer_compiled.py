"""The compiled steps of the structured layer against those of PyTorch, which tests/methods/test_deepemd.py checks."""

from dataclasses import replace

import pytest
import torch

from core.errors import UserError
from tests.ops.emd.layers import LAYER, by_torch, layer_input


@pytest.mark.parametrize("weight_grad", [True, False])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
def test_both_ways_are_one(weight_grad, centred, pooled):
    pooling = torch.eye(5) + 0.1 * torch.arange(25.0).view(5, 5) / 25 if pooled else None
    layer = replace(LAYER, weight_grad=weight_grad, centred=centred, pooling=pooling)
    classes_after = layer.fine_tuned(*layer_input())
    torch.testing.assert_close(classes_after, by_torch(layer).fine_tuned(*layer_input()), rtol=0, atol=1e-10)
    assert (classes_after - layer_input()[0]).abs().max() > 1e-2


def test_single_precision_stays_close():
    classes, support, *rest = layer_input()
    exact, single = (LAYER.fine_tuned(classes.to(to), support.to(to), *rest) for to in (torch.float64, torch.float32))
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-3)


def test_a_task_does_not_see_the_others():
    together = LAYER.fine_tuned(*layer_input())
    alone = [LAYER.fine_tuned(*(part[t : t + 1] for part in layer_input())) for t in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_unsolved_programs_are_refused(monkeypatch):
    monkeypatch.setattr("core.ops.emd.structured_layer.most_pivots", lambda n, m: 0)
    with pytest.raises(UserError, match=r"left \d+ of 162 problems unsolved after 0 pivots"):
        LAYER.fine_tuned(*layer_input())
