"""Rules on values: each broken one is named, all of them at once."""

import pytest

from core.config import check_files
from core.errors import UserError
from tests.config.trees import ENTRIES


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.choices])
def test_choices(refused, name):
    known = ", ".join(filter(None, ENTRIES[name].choices))
    assert f"{name} is 'nonsense', which is not one of: {known}" in refused("", f"{name}=nonsense")


def test_choice_suggests_the_nearest(refused):
    assert "(did you mean cosine?)" in refused("", "STAGE.meta.OPTIM.SCHEDULE=cosin")


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.least is not None])
def test_least_values(refused, name):
    below = -1 if ENTRIES[name].least <= 1 else ENTRIES[name].least - 1
    assert f"{name} is {below}" in refused("", f"{name}={below}").replace(".0;", ";")


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.below is not None])
@pytest.mark.parametrize("more", [0, 0.5])
def test_bounds_from_above(refused, name, more):
    value = ENTRIES[name].below + more
    assert f"{name} is {float(value)}; it must be below {ENTRIES[name].below}." in refused("", f"{name}={value}")


def test_not_a_number_is_refused(refused):
    assert "OPTIM.LR is nan" in refused("", "STAGE.meta.OPTIM.LR=.nan")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["STAGES=[meta, meta]"], "names a stage twice"),
        (["STAGE.meta.METHOD=Baseline"], "STAGE.meta.METHOD is Baseline, but METHOD.NAME is ProtoNet"),
        (["STAGE.meta={METHOD: ProtoNet, ARGS: {scale: 2}}"], "STAGE.meta.ARGS differ from METHOD.ARGS"),
        (["DATASET.SIZE=8"], "DATASET.SIZE is 8"),
        (["DATASET.SIZE=-1"], "DATASET.SIZE is -1"),
        (["TASK.TRAIN.SHOT=[9, 1]"], "TASK.TRAIN.SHOT is [9, 1]; a range is its least and its largest shot"),
        (["TASK.TRAIN.SHOT=[1, 5, 9]"], "TASK.TRAIN.SHOT is [1, 5, 9]; a range is"),
        (["TASK.TRAIN.SHOT=[0, 5]"], "TASK.TRAIN.SHOT is [0, 5]; a range is"),
        (["TASK.TRAIN.SHOT=[1, x]"], "TASK.TRAIN.SHOT is [1, 'x']; a range is"),
        (["TASK.TRAIN={SHOT: [1, 9], IMAGES: 9}"], "TASK.TRAIN.IMAGES is 9, which leaves no query beside the 9"),
        (["TASK.TRAIN={SHOT: 5, IMAGES: 5}"], "TASK.TRAIN.IMAGES is 5, which leaves no query beside the 5"),
        (["REFERENCE.ACCURACY=50"], "without SOURCE and STATUS"),
        (["REFERENCE={ACCURACY: 50, SOURCE: a}"], "without STATUS"),
        (["REFERENCE={SOURCE: a, STATUS: paper}"], "REFERENCE.ACCURACY is 0.0"),
        (["REFERENCE={ACCURACY: 101, SOURCE: a, STATUS: paper}"], "REFERENCE.ACCURACY is 101.0"),
        (["STAGES=[a, meta]", "STAGE.a.KEEP=2"], "STAGE.a.KEEP is 2, but only networks of the last stage"),
        (["STAGE.meta={EPOCHS: 3, VAL: {EVERY: 2}, KEEP: 3}"], "but the stage validates 2 networks"),
        (["EVAL.ENSEMBLE=2"], "EVAL.ENSEMBLE is 2, but STAGE.meta.KEEP is 1"),
        (["STAGES=[]", "EVAL.ENSEMBLE=2"], "EVAL.ENSEMBLE is 2, but STAGES is empty"),
        (["EVAL.PRIOR=1"], "EVAL.PRIOR is 1.0; it must lie between 0 and 1"),
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
        ["STAGE.meta={METHOD: protonet, ARGS: {scale: 1}}"],
        ["STAGES=[a, b]", "STAGE.a.METHOD=Baseline"],
        ["REFERENCE={ACCURACY: 50, SOURCE: a, STATUS: paper}"],
        ["STAGE.meta.OPTIM={SCHEDULE: multistep, MILESTONES: [2, 3], WARMUP: 1, NAME: sgd, NESTEROV: true}"],
        ["DATASET.SIZE=84", "TASK.TRAIN.WAY=2"],
        ["TASK.TRAIN={SHOT: [1, 9], IMAGES: 10}"],
        ["TASK.TRAIN.SHOT=[1, 9]"],
        ["STAGE.meta={EPOCHS: 1, OPTIM: {WARMUP: 0}}"],
        ["STAGE.meta={EPOCHS: 5, STEPS: 20, OPTIM: {WARMUP_STEPS: 99, WARMUP_START: 0.25, BETAS: [0, 0.9]}}"],
        ["STAGE.meta={STEPS: 0, STREAM: batches, OPTIM: {WARMUP_STEPS: 5000}}"],
    ],
)
def test_what_the_rules_allow(read, overrides):
    read("", *overrides)


def test_all_broken_rules_at_once(refused):
    message = refused("", "TASK.TEST.WAY=1", "EVAL.EPISODES=1", "DATASET.SIZE=8", "STAGE.meta.BN=off-ish")
    assert len(message.splitlines()) == 7  # TRAIN, VAL and the stage inherit the way


def test_missing_weights_matter_only_to_training(read, tmp_path):
    weights = tmp_path / "weights.pth"
    cfg = read("", f"STAGE.meta.INIT={weights}").cfg
    with pytest.raises(UserError, match=r"STAGE.meta.INIT is .*weights.pth, which is not a file"):
        check_files(cfg)
    weights.touch()
    check_files(cfg)
    check_files(read().cfg)
