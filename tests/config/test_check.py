"""Rules on values: each broken one is named, all of them at once."""

import pytest

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
    ],
)
def test_rules(refused, overrides, sentence):
    message = refused("", *overrides)
    assert sentence in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        ["STAGE.meta={METHOD: protonet, ARGS: {scale: 1}}"],
        ["STAGES=[a, b]", "STAGE.a.METHOD=Baseline"],
        ["REFERENCE={ACCURACY: 50, SOURCE: a, STATUS: paper}"],
        ["DATASET.SIZE=84", "TASK.TRAIN.WAY=2"],
        ["TASK.TRAIN={SHOT: [1, 9], IMAGES: 10}"],
        ["TASK.TRAIN.SHOT=[1, 9]"],
    ],
)
def test_what_the_rules_allow(read, overrides):
    read("", *overrides)


def test_all_broken_rules_at_once(refused):
    message = refused("", "TASK.TEST.WAY=1", "EVAL.EPISODES=1", "DATASET.SIZE=8", "STAGE.meta.BN=off-ish")
    assert len(message.splitlines()) == 7  # TRAIN, VAL and the stage inherit the way
