"""What objectives share: plain cross-entropy, and scales of either kind."""

import torch
import torch.nn.functional as F

from core.objectives.base import CrossEntropy, Objective, number


def test_cross_entropy_returns_its_answers_and_measures_nothing():
    logits, y = torch.randn(2, 3, 4), torch.tensor([[0, 1, 2], [3, 3, 0]])
    loss = CrossEntropy()(logits, y, 5.0, torch.zeros(2, 4, 7), progress=0.5)
    assert torch.equal(loss.value, F.cross_entropy(logits.flatten(0, 1), y.flatten()))
    assert loss.logits is logits
    assert loss.y is y
    assert not loss.scalars
    assert CrossEntropy().scalars(5.0, 0.5) == {}


def test_a_scale_is_a_number_or_a_tensor():
    assert number(2.5) == 2.5
    assert number(torch.nn.Parameter(torch.tensor(1.5))) == 1.5


def test_what_an_objective_learns_is_not_decayed():
    objective = Objective()
    assert objective.param_groups(0.1) == []
    objective.margin = torch.nn.Parameter(torch.zeros(()))
    (group,) = objective.param_groups(0.1)
    assert (group["lr"], group["weight_decay"], group["params"]) == (0.1, 0.0, [objective.margin])
