"""What a collected run tells of its training."""

import pytest

from core.suites.collected import read_runs

HALF = {"stage": "meta", "epoch": 1, "step": 30, "steps_per_second": 0.5}  # a minute


def test_a_range_of_training_shots(collected):
    (run,) = read_runs(collected("LR-D2_N5K1_C4"))
    assert run.trained_shots == range(1, 10)
    assert [run.is_trained_for(shot) for shot in (1, 9, 10)] == [True, True, False]


def test_a_training_without_episodes_knows_no_shot(collected):
    (run,) = read_runs(collected("NegMargin_N5K1_C4"))
    assert not run.trained_shots
    assert [run.is_trained_for(shot) for shot in (1, 20)] == [True, True]


def test_an_epoch_that_was_stopped_after_its_last_step_has_the_speed_of_the_one_before(collected):
    stopped = HALF | {"epoch": 2, "step": 60, "steps_per_second": 0.0}
    (run,) = read_runs(collected("ProtoNet_N5K1_C4", steps=[HALF, stopped]))
    assert run.stage_minutes == {"meta": pytest.approx(2.0)}
    (run,) = read_runs(collected("ProtoNet_N5K1_C4", steps=[stopped]))
    assert run.stage_minutes == {"meta": 0.0}
