"""Rules on the values of a training stage."""

import pytest

from core.config import check_files
from core.errors import UserError


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["STAGE.meta.STEPS=0"], "STAGE.meta.STEPS is 0"),
        (["STAGE.meta={STEPS: 0, STREAM: both}"], "STAGE.meta.STREAM is both"),
        (["STAGE.meta.OPTIM.LR=0"], "must be positive"),
        (["STAGE.meta.OPTIM.MILESTONES=[3, 2]"], "increasing order"),
        (["STAGE.meta.OPTIM.MILESTONES=[2, 2]"], "increasing order"),
        (["STAGE.meta.OPTIM.MILESTONES=[2, x]"], "increasing order"),
        (["STAGE.meta.OPTIM.SCHEDULE=multistep"], "MILESTONES is empty"),
        (["STAGE.meta.OPTIM={MILESTONES: [2, 3], GAMMAS: [0.1]}"], "GAMMAS has 1 factors, but MILESTONES 2 epochs"),
        (["STAGE.meta.OPTIM={MILESTONES: [2], GAMMAS: [0]}"], "GAMMAS is [0]; it must list positive factors"),
        (["STAGE.meta={EPOCHS: 5, OPTIM: {WARMUP: 5}}"], "WARMUP is 5, but STAGE.meta.EPOCHS is 5"),
        (["STAGE.meta={EPOCHS: 5, OPTIM: {WARMUP: 2, WARMUP_STEPS: 9}}"], "WARMUP is 2 and WARMUP_STEPS 9"),
        (["STAGE.meta={EPOCHS: 5, STEPS: 20, OPTIM: {WARMUP_STEPS: 100}}"], "WARMUP_STEPS is 100, but the stage has"),
        (["STAGE.meta.OPTIM.BETAS=[0.9]"], "BETAS is [0.9]; it must be two numbers"),
        (["STAGE.meta.OPTIM.BETAS=[0.5, 1]"], "BETAS is [0.5, 1]; it must be two numbers"),
        (["STAGE.meta.OPTIM.NESTEROV=true"], "needs OPTIM.NAME sgd"),
        (["STAGE.meta.OPTIM={NAME: sgd, NESTEROV: true, MOMENTUM: 0}"], "MOMENTUM above 0"),
    ],
)
def test_rules(refused, overrides, sentence):
    message = refused("", *overrides)
    assert sentence in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        ["STAGE.meta={STEPS: 0, STREAM: batches}"],
        ["STAGE.meta.OPTIM={SCHEDULE: multistep, MILESTONES: [2, 3], WARMUP: 1, NAME: sgd, NESTEROV: true}"],
        ["STAGE.meta={EPOCHS: 1, OPTIM: {WARMUP: 0}}"],
        ["STAGE.meta={EPOCHS: 5, STEPS: 20, OPTIM: {WARMUP_STEPS: 99, WARMUP_START: 0.25, BETAS: [0, 0.9]}}"],
        ["STAGE.meta={STEPS: 0, STREAM: batches, OPTIM: {WARMUP_STEPS: 5000}}"],
    ],
)
def test_what_the_rules_allow(read, overrides):
    read("", *overrides)


def test_missing_weights_matter_only_to_training(read, tmp_path):
    weights = tmp_path / "weights.pth"
    cfg = read("", f"STAGE.meta.INIT={weights}").cfg
    with pytest.raises(UserError, match=r"STAGE.meta.INIT is .*weights.pth, which is not a file"):
        check_files(cfg)
    weights.touch()
    check_files(cfg)
    check_files(read().cfg)
