"""What follows from the roles: published numbers, seeds of one recipe, shared stages, features and measurements."""

import pytest
import yaml

from core.config.roles import recipe, reference_applies, roles_of, shapes_weights, with_role

TWO_STAGES = """
STAGES: [pretrain, meta]
STAGE: {pretrain: {METHOD: Baseline, STREAM: batches, VAL: {WAY: 4, SHOT: 1, QUERY: 3}}}
"""


@pytest.mark.parametrize(
    ("key", "applies"),
    [
        ("SEED", True),  # varies
        ("EVAL.SEED", True),
        ("EVAL.PRECISION", True),
        ("EVAL.BATCH", True),  # encodes alone
        ("EVAL.EPISODES", True),  # neither
        ("EVAL.TRIALS", True),
        ("DATASET.ROOT", True),
        ("PLUGINS", True),
        ("STAGE.meta.OPTIM.LR", False),  # trains
        ("TASK.TRAIN.WAY", False),
        ("TASK.TEST.SHOT", False),  # measures
        ("DATASET.VIEWS", False),
        ("EVAL.PRIOR", False),
        ("METHOD.ARGS.k", False),  # inherited
        ("OBJECTIVE.NAME", False),
        ("TASK.VAL.WAY", False),
    ],
)
def test_when_the_reference_applies(key, applies):
    assert reference_applies([key]) == reference_applies(["SEED", key]) == applies
    assert reference_applies([key, "REFERENCE.ACCURACY"])


def test_reference_applies_without_overrides():
    assert reference_applies([])


def saved(read, text="", *overrides):
    """The tree of a run's config.yaml."""
    return yaml.safe_load(read(text, *overrides).full())


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("SEED=1", True),
        ("DATASET.ROOT=elsewhere", True),
        ("PLUGINS=[sys]", True),
        ("EVAL={EPISODES: 9, BATCH: 8, CI: z_ddof0, CACHE: false, CACHE_MB: 1, MEMORY_MB: 9, PARTITIONS: 0}", True),
        ("EVAL={TRIALS: 9, PRIOR: 0.5}", True),
        ("REFERENCE={ACCURACY: 60, SOURCE: a table, STATUS: paper}", True),
        ("TASK={TEST: {SHOT: 5}, VAL: {SHOT: 1}, TRAIN: {SHOT: 1}}", True),  # its evaluations say their shots
        ("STAGE.meta={METHOD: ProtoNet}", True),  # as METHOD says
        ("EVAL.SEED=1", False),  # other validation episodes
        ("EVAL.PRECISION=bf16", False),
        ("TASK.TEST.SHOT=5", False),  # which training inherits
        ("METHOD.ARGS.scale=2", False),
        ("OBJECTIVE.NAME=arcface", False),
        ("BACKBONE.ARGS.width=8", False),
        ("DATASET.SIZE=32", False),
        ("DATASET.NAME=Other", False),
        ("DATASET.TEST.NAME=Other", True),
        ("STAGE.meta.OPTIM.LR=1", False),
        ("STAGES=[first, meta]", False),
    ],
)
def test_runs_of_one_recipe(read, override, same):
    assert (recipe(saved(read)) == recipe(saved(read, "", override))) == same


def test_recipe_of_a_run_that_is_older_than_a_key(read):
    tree = saved(read, TWO_STAGES)
    del tree["PLUGINS"], tree["EVAL"]["TRIALS"], tree["STAGE"]["meta"]["TASKS"], tree["DATASET"]["BASE_HOLDOUT"]
    assert recipe(tree) == recipe(saved(read, TWO_STAGES))


def test_recipe_of_a_run_that_has_a_key_which_is_gone(read):
    tree = saved(read)
    assert recipe(tree | {"GONE": 1}) != recipe(tree | {"GONE": 2})


@pytest.mark.parametrize("tree", [None, [], "text", {"STAGE": None}, {"STAGES": [["a"]]}, {"TASK": 5}, {"STAGES": 5}])
def test_recipe_of_no_configuration(tree):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        recipe(tree)


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("SEED=1", True),
        ("EVAL.SEED=1", True),
        ("EVAL.PRECISION=bf16", True),
        ("STAGE.pretrain.OPTIM.LR=0.01", True),
        ("STAGE.pretrain.ARGS.head=cosine", True),
        ("STAGE.pretrain.OBJECTIVE.NAME=arcface", True),
        ("OBJECTIVE.NAME=arcface", True),  # which the stage inherits
        ("STAGES=[pretrain, other, meta]", False),
        ("BACKBONE.ARGS.width=8", True),
        ("DATASET.VAL.NAME=Other", True),
        ("DATASET.BASE_HOLDOUT=5", True),
        ("METHOD.NAME=DN4", False),
        ("METHOD.ARGS.scale=2", False),
        ("STAGE.meta.OPTIM.LR=0.01", False),
        ("STAGE.meta.OBJECTIVE.NAME=arcface", False),
        ("TASK={TEST: {SHOT: 5}, VAL: {SHOT: 5}, TRAIN: {WAY: 9}}", False),  # no episodes, validation of its own
        ("STAGE.pretrain.VAL.WAY=0", True),
        ("DATASET.TEST.NAME=Other", False),
        ("EVAL={EPISODES: 9, BATCH: 8, PRIOR: 0.5}", False),
        ("DATASET.ROOT=elsewhere", False),
    ],
)
def test_what_shapes_the_weights_of_a_stage(read, override, changed):
    before, after = (shapes_weights(read(TWO_STAGES, *over).cfg, "pretrain") for over in ([], [override]))
    assert (before != after) == changed


def test_weights_of_a_later_stage_depend_on_the_earlier_and_on_episodes(read):
    cfg = read(TWO_STAGES).cfg
    first, second = shapes_weights(cfg, "pretrain"), shapes_weights(cfg, "meta")
    assert first["STAGES"] == ["pretrain"]
    assert {"STAGE.pretrain.EPOCHS", "STAGE.meta.EPOCHS", "TASK.TRAIN.WAY"} <= set(second)
    assert set(second) - set(first) == {key for key in second if key.startswith(("STAGE.meta.", "TASK.TRAIN."))}


def test_features_depend_on_the_network_the_images_and_the_arithmetic(read):
    assert set(with_role(read("METHOD: {NAME: DN4}").cfg, "encodes")) == {
        "DATASET.SIZE",
        "DATASET.VIEWS",
        "DATASET.PATCH_RATIO",
        "DATASET.EVAL_CROP",
        "DATASET.TEST.NAME",
        "BACKBONE.NAME",
        "BACKBONE.ARGS.width",
        "BACKBONE.VECTOR",
        "BACKBONE.WEIGHTS",
        "METHOD.NAME",
        "METHOD.ARGS.k",
        "METHOD.ARGS.scale",
        "EVAL.BATCH",
        "EVAL.PRECISION",
    }


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("DATASET.VIEWS=[sample-9]", True),
        ("METHOD.ARGS.scale=2", True),
        ("TASK.TEST.SHOT=5", True),
        ("DATASET.SEMANTICS=words.tsv", True),
        ("EVAL.PRIOR=0.5", True),
        ("EVAL.EPISODES=9", False),
        ("EVAL.SEED=1", False),
        ("STAGE.meta.OPTIM.LR=1", False),
        ("TASK.TRAIN.WAY=9", False),
    ],
)
def test_what_is_measured(read, override, changed):
    text = "DATASET: {VIEWS: [sample-3]}"
    before, after = (with_role(read(text, *over).cfg, "measures") for over in ([], [override]))
    assert (before != after) == changed


def test_an_unknown_key_trains():
    assert roles_of("GONE") == {"trains"}
