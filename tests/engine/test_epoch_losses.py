"""An epoch's record: right answers counted, measurements reduced as they say."""

import pytest
import torch

from core.engine.epoch_losses import EpochLosses
from core.objectives.loss import Loss, Scalar

CPU = torch.device("cpu")


def loss(logits=None, y=None, **scalars):
    return Loss(torch.zeros(()), logits, y, scalars)


def test_right_answers_of_all_losses_are_counted():
    epoch = EpochLosses(CPU)
    epoch.add(loss(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0])))
    epoch.add(loss(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[1]])))
    epoch.add(loss())  # an auxiliary loss has no answers
    assert epoch.train_accuracy() == {"train_accuracy": pytest.approx(200 / 3)}


def test_without_answers_there_is_no_accuracy():
    epoch = EpochLosses(CPU)
    epoch.add(loss())
    assert epoch.train_accuracy() == {}
    assert epoch.scalars() == {}


def test_measurements_become_one_number_as_they_say():
    epoch = EpochLosses(CPU)
    for value in (3.0, 1.0, 5.0):
        number = torch.tensor(value)
        kinds = {over: Scalar(number, over) for over in ("mean", "min", "max", "last")}
        epoch.add(loss(**kinds))
    assert epoch.scalars() == {"mean": 3.0, "min": 1.0, "max": 5.0, "last": 5.0}


def test_several_calls_in_a_step_count_as_several():
    epoch = EpochLosses(CPU)
    epoch.add(loss(margin=Scalar(torch.tensor([1.0, 2.0, 3.0]))))
    epoch.add(loss(margin=Scalar(torch.tensor([6.0]))))
    assert epoch.scalars() == {"margin": 3.0}


def test_losses_of_two_streams_may_measure_different_things():
    epoch = EpochLosses(CPU)
    for step in (1.0, 2.0):
        epoch.add(loss(of_tasks=Scalar(torch.tensor(step), "max")))
        epoch.add(loss(of_batches=Scalar(torch.tensor(-step), "min")))
    assert epoch.scalars() == {"of_tasks": 2.0, "of_batches": -2.0}
