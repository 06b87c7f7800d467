"""Which keys there are: class names, stages, and what inherits from what."""

import random

import pytest

TWO_STAGES = """
STAGES: [pretrain, meta]
STAGE:
  pretrain: {METHOD: baseline, ARGS: {head: cosine}, STREAM: batches, OBJECTIVE: {NAME: ArcFace, ARGS: {margin: 1}}}
METHOD: {NAME: DN4, ARGS: {k: 5}}
"""


def test_tasks_and_data_sets_inherit(read):
    cfg = read("TASK: {TEST: {SHOT: 5}, TRAIN: {WAY: 20}}\nDATASET: {NAME: A, TEST: {NAME: B}}").cfg
    assert dict(cfg.TASK.TRAIN) == {"WAY": 20, "SHOT": 5, "QUERY": 15, "IMAGES": 0, "BASE_QUERY": 0}
    assert dict(cfg.TASK.VAL) == {"WAY": 5, "SHOT": 5, "QUERY": 15}
    assert [cfg.DATASET[split].NAME for split in ("TRAIN", "VAL", "TEST")] == ["A", "A", "B"]


def test_stages_inherit_method_and_objective(read):
    cfg = read(TWO_STAGES).cfg
    assert (cfg.STAGE.pretrain.METHOD, cfg.STAGE.pretrain.ARGS.head) == ("Baseline", "cosine")
    assert cfg.STAGE.pretrain.OBJECTIVE == {"NAME": "arcface", "ARGS": {"margin": 1.0}}
    assert cfg.STAGE.meta.METHOD == "DN4"
    assert cfg.STAGE.meta.ARGS == {"k": 5, "scale": 1.0}
    assert cfg.STAGE.meta.OBJECTIVE == {"NAME": "ce", "ARGS": {}}


def test_names_get_their_registered_spelling(read):
    cfg = read("METHOD: {NAME: dn4}\nBACKBONE: {NAME: RESNET12}\nOBJECTIVE: {NAME: CE}").cfg
    assert (cfg.METHOD.NAME, cfg.BACKBONE.NAME, cfg.OBJECTIVE.NAME) == ("DN4", "ResNet12", "ce")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("METHOD: {NAME: DN5}", "METHOD.NAME"),
        ("STAGE: {meta: {METHOD: DN5}}", "STAGE.meta.METHOD"),
    ],
)
def test_unknown_method_lists_the_known_ones(text, key, refused):
    message = refused(text)
    assert message == (
        f"leaf.yaml: {key} is 'DN5', which is not one of: Baseline, DN4, NegMargin, ProtoNet (did you mean DN4?)."
    )


def test_unknown_backbone_and_objective(refused):
    assert "BACKBONE.NAME is 'x'" in refused("BACKBONE: {NAME: x}")
    assert "STAGE.meta.OBJECTIVE.NAME is 'x'" in refused("STAGE: {meta: {OBJECTIVE: {NAME: x}}}")


@pytest.mark.parametrize("stages", ["meta", "[1]", "[a.b]", "{}", "[[meta]]"])
def test_stages_must_be_a_list_of_words(stages, refused):
    assert "list of plain words" in refused(f"STAGES: {stages}")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("METHOD: {NAME: X}", 'a class there needs @METHODS.register("X").'),
        ("STAGE: {meta: {OBJECTIVE: {NAME: X}}}", 'a class there needs @OBJECTIVES.register("X").'),
    ],
)
def test_unknown_class_beside_plugins_tells_what_was_imported(text, advice, refused):
    message = refused(f"PLUGINS: [random, sys]\n{text}")
    assert f"; PLUGINS imported random ({random.__file__}), sys (part of Python); {advice}" in message
