"""Keys and types: what is coerced, what is refused, and in which words."""

import pytest
import yaml

from core.config import load
from core.config.provenance import flatten, unflatten
from core.errors import UserError


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("STAGE.meta.OPTIM.LR", "1e-3", 0.001),  # text to PyYAML
        ("STAGE.meta.OPTIM.CLIP", "1", 1.0),
        ("STAGE.meta.OPTIM.MILESTONES", "[3, 4]", [3, 4]),
        ("METHOD.ARGS.normalise", "true", True),
        ("DATASET.NAME", "'5'", "5"),
        ("DATASET.NAME", "5", "5"),
        ("DATASET.NAME", "1.5", "1.5"),
        ("SEED", "3", 3),
    ],
)
@pytest.mark.parametrize("form", ["file", "pair", "equals"])
def test_values_take_the_type_of_the_default(write, key, text, value, form, schemas):
    over = {"file": [], "pair": [key, text], "equals": [f"{key}={text}"]}[form]
    tree = yaml.safe_dump(unflatten({key: yaml.safe_load(text)})) if form == "file" else ""
    setting = flatten(load(write(tree), over, schemas).cfg)[key]
    assert (setting, type(setting)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "text", "kind"),
    [
        ("SEED", "1.0", "an integer"),
        ("SEED", "true", "an integer"),
        ("SEED", "'5'", "an integer"),
        ("SEED", "null", "an integer"),
        ("SEED", "[1]", "an integer"),
        ("STAGE.meta.OPTIM.LR", "true", "a number"),
        ("STAGE.meta.OPTIM.LR", "fast", "a number"),
        ("STAGE.meta.OPTIM.NESTEROV", "1", "true or false"),
        ("STAGE.meta.AUGMENT", "flip", "a list"),
        ("DATASET.NAME", "true", "text"),
        ("DATASET.NAME", "[a]", "text"),
        ("METHOD.ARGS.normalise", "0", "true or false"),
    ],
)
def test_wrong_type_names_file_key_value_and_type(key, text, kind, refused):
    value = yaml.safe_load(text)
    message = refused(yaml.safe_dump(unflatten({key: value})))
    assert message == f"leaf.yaml: {key} is {value!r}, which is not {kind}."


def test_tuple_and_none_defaults_of_a_class(read):
    cfg = read("METHOD: {NAME: Baseline, ARGS: {sizes: [4], anything: [x, 1]}}").cfg
    assert (cfg.METHOD.ARGS["sizes"], cfg.METHOD.ARGS["anything"]) == ([4], ["x", 1])
    assert read("METHOD: {NAME: Baseline}").cfg.METHOD.ARGS["sizes"] == [1, 2]


def test_group_takes_no_value_but_may_be_empty(read, refused):
    assert refused("METHOD: ProtoNet") == "leaf.yaml: METHOD is 'ProtoNet', but it is a group of keys."
    assert read("METHOD:\nSTAGE: {meta: }\nOBJECTIVE: {ARGS: {}}\nBACKBONE: {ARGS: {}}").sources == {}


def test_value_takes_no_keys(refused):
    assert "unknown key SEED.a (did you mean SEED?)" in refused("SEED: {a: 1}")
    assert "SEED is {}, which is not an integer" in refused("SEED: {}")


def test_all_unknown_keys_at_once_with_their_files(write, schemas):
    write("EVALL: {SEED: 1}\nSEED: x", "_base_/b.yaml")
    leaf = write("_BASE_: _base_/b.yaml\nSHOT: 1\nSTAGE: {meta: {OPTIM: {LRR: 1}}}\nMETHOD: {NAME: DN4, ARGS: {kk: 1}}")
    with pytest.raises(UserError) as caught:
        load(leaf, ["seed", "1"], schemas)
    assert set(str(caught.value).splitlines()) == {
        "_base_/b.yaml: unknown key EVALL.SEED (did you mean EVAL.SEED?).",
        "_base_/b.yaml: SEED is 'x', which is not an integer.",
        "leaf.yaml: unknown key SHOT (did you mean TASK.TEST.SHOT?).",
        "leaf.yaml: unknown key STAGE.meta.OPTIM.LRR (did you mean STAGE.meta.OPTIM.LR?).",
        "leaf.yaml: unknown key METHOD.ARGS.kk (did you mean METHOD.ARGS.k?); METHOD.ARGS takes k, scale.",
        "command line: unknown key seed (did you mean SEED?).",
    }


def test_keys_of_a_stage_that_is_not_listed(refused):
    assert "STAGES does not list mta (did you mean meta?); its stages: meta." in refused("STAGE: {mta: {EPOCHS: 1}}")


def test_arguments_of_an_unnamed_stage_method(refused):
    message = refused("STAGE: {meta: {ARGS: {scale: 2}}}")
    assert "set METHOD.ARGS.scale, or STAGE.meta.METHOD as well" in message
    message = refused("STAGE: {meta: {OBJECTIVE: {ARGS: {margin: 2}}}}")
    assert "set OBJECTIVE.ARGS.margin, or STAGE.meta.OBJECTIVE.NAME as well" in message


def test_keys_may_be_dotted(read):
    assert read("METHOD.NAME: DN4\nMETHOD.ARGS: {k: 7}").cfg.METHOD.ARGS.k == 7


def test_a_key_in_both_forms_is_refused(refused):
    said = refused("TASK.TEST.SHOT: 5\nTASK: {TEST: {SHOT: 1}}")
    assert said == "leaf.yaml: TASK.TEST.SHOT is given twice, with dots and in a group; remove one of them."


def test_keys_that_are_no_text(refused):
    assert "unknown key 5" in refused("5: 1")


def test_a_word_that_is_none_of_an_argument_s_choices(refused):
    said = refused("METHOD: {NAME: NegMargin}\nSEED: one", "METHOD.ARGS.metric=euclidean")
    assert "command line: METHOD.ARGS.metric is 'euclidean', which is not one of: cosine, softmax." in said
    assert "leaf.yaml: SEED is 'one', which is not an integer." in said
    said = refused("METHOD: {NAME: NegMargin, ARGS: {metric: cosin}}")
    assert said == (
        "leaf.yaml: METHOD.ARGS.metric is 'cosin', which is not one of: cosine, softmax (did you mean cosine?)."
    )


def test_a_number_out_of_an_argument_s_bounds(refused):
    said = refused("METHOD: {NAME: DN4}\nSEED: one", "METHOD.ARGS.k=0")
    assert "command line: METHOD.ARGS.k is 0; it must be at least 1." in said
    assert "leaf.yaml: SEED is 'one', which is not an integer." in said


def test_choices_of_a_stage_s_own_method(refused):
    stages = "STAGES: [base]\nSTAGE: {base: {METHOD: NegMargin, ARGS: {metric: %s}}}\nMETHOD: {NAME: NegMargin}"
    assert "STAGE.base.ARGS.metric is 'dot', which is not one of: cosine, softmax." in refused(stages % "dot")


@pytest.mark.parametrize("key", ["TASK.TEST.SHOT", "TASK.VAL.SHOT", "STAGE.meta.VAL.SHOT"])
def test_only_training_shots_may_be_a_range(refused, key):
    expected = f"{key} is [1, 9], which is not an integer; only TASK.TRAIN.SHOT may be a range."
    assert expected in refused("", f"{key}=[1, 9]")


def test_a_range_is_read_from_files_and_command_lines(write, schemas):
    tree = "TASK: {TRAIN: {SHOT: [1, 9]}}"
    assert load(write(tree), [], schemas).cfg.TASK.TRAIN.SHOT == [1, 9]
    assert load(write(""), ["TASK.TRAIN.SHOT", "[2, 3]"], schemas).cfg.TASK.TRAIN.SHOT == [2, 3]
