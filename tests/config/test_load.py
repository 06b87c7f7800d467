"""Loading a configuration: inheritance, names, the command line, provenance and the round trip."""

import sys

import pytest

from core.config import load, read

TWO_STAGES = """
STAGES: [pretrain, meta]
STAGE:
  pretrain: {METHOD: baseline, ARGS: {head: cosine}, STREAM: batches, OBJECTIVE: {NAME: ArcFace, ARGS: {margin: 1}}}
METHOD: {NAME: DN4, ARGS: {k: 5}}
"""


def test_empty_file_gives_the_defaults(read):
    cfg = read().cfg
    assert (cfg.METHOD.NAME, cfg.TASK.TEST.WAY, cfg.STAGES) == ("ProtoNet", 5, ["meta"])
    assert cfg.METHOD.ARGS == {"scale": 1.0, "normalise": False}
    assert cfg.BACKBONE.ARGS == {"width": 64}
    assert cfg.OBJECTIVE.ARGS == {}


def test_configuration_is_frozen(read):
    cfg = read().cfg
    with pytest.raises(AttributeError):
        cfg.STAGE.meta.OPTIM.LR = 1.0


def test_loading_leaves_defaults_and_schemas_alone(read, schemas):
    first = read("METHOD: {ARGS: {scale: 7}}\nSTAGES: [a, b]").cfg
    assert first.STAGE.a.ARGS.scale == 7.0
    assert read().cfg.METHOD.ARGS.scale == 1.0
    assert schemas().methods["ProtoNet"].defaults["scale"] == 1.0


def test_overrides_mix_pairs_and_equals(read):
    cfg = read("", "SEED", "3", "EVAL.EPISODES=7", "DATASET.ROOT", "a=b", "TASK.TEST.WAY=4").cfg
    assert (cfg.SEED, cfg.EVAL.EPISODES, cfg.DATASET.ROOT, cfg.TASK.TEST.WAY) == (3, 7, "a=b", 4)


def test_override_of_a_group_merges(read):
    cfg = read("METHOD: {ARGS: {normalise: true}}", "METHOD.ARGS", "{scale: 2}").cfg
    assert cfg.METHOD.ARGS == {"scale": 2.0, "normalise": True}


def test_last_override_wins_and_lists_replace(read):
    cfg = read("PLUGINS: []\nSTAGE: {meta: {AUGMENT: [flip]}}", "SEED=1", "SEED", "2", "STAGE.meta.AUGMENT=[a, b]").cfg
    assert (cfg.SEED, cfg.STAGE.meta.AUGMENT) == (2, ["a", "b"])


@pytest.mark.parametrize("over", [["DATASET.TEST.NAME", ""], ["DATASET.TEST.NAME="]])
def test_empty_text_on_the_command_line(read, over):
    assert read("DATASET: {TEST: {NAME: B}}", *over).cfg.DATASET.TEST.NAME == "Glyphs"


def test_key_without_a_value(refused):
    assert "METHOD.NAME on the command line has no value" in refused("", "SEED", "1", "METHOD.NAME")


def test_value_that_is_not_yaml(refused):
    assert "SEED on the command line is '[1', which is not valid YAML" in refused("", "SEED", "[1")


def test_values_are_never_evaluated(refused):
    assert "not valid YAML" in refused("", "DATASET.NAME", "!!python/object/apply:os.getcwd []")


def test_switching_classes_drops_what_they_do_not_have(read):
    text = """
        METHOD: {NAME: DN4, ARGS: {k: 5, scale: 2}}
        BACKBONE: {NAME: Conv4, ARGS: {width: 8}}
        OBJECTIVE: {NAME: arcface, ARGS: {margin: 0.1}}
    """
    loaded = read(text, "METHOD.NAME", "protonet", "BACKBONE.NAME=ResNet12", "OBJECTIVE.NAME=ce")
    assert loaded.cfg.METHOD.ARGS == {"scale": 2.0, "normalise": False}
    assert (loaded.cfg.BACKBONE.ARGS, loaded.cfg.OBJECTIVE.ARGS) == ({"drop": 0.1}, {})
    (note,) = loaded.notes
    for dropped in ("METHOD.ARGS.k = 5 (leaf.yaml)", "BACKBONE.ARGS.width = 8", "OBJECTIVE.ARGS.margin = 0.1"):
        assert dropped in note
    assert "scale" not in note
    assert "METHOD.ARGS.k" not in loaded.sources


def test_switching_stages_drops_the_nodes_of_the_others(read):
    loaded = read(TWO_STAGES, "STAGES=[meta]")
    assert list(loaded.cfg.STAGE) == ["meta"]
    assert "STAGE.pretrain.ARGS.head" in loaded.notes[0]


def test_same_class_or_typo_is_not_dropped(read, refused):
    assert "unknown key METHOD.ARGS.kk" in refused("METHOD: {NAME: DN4, ARGS: {kk: 5}}", "METHOD.NAME=dn4")
    assert "unknown key METHOD.ARGS.kk" in refused("METHOD: {NAME: DN4, ARGS: {kk: 5}}", "METHOD.NAME=ProtoNet")
    assert "unknown key METHOD.ARGS.k" in refused("", "METHOD.ARGS.k=5")
    assert read("METHOD: {NAME: DN4, ARGS: {k: 5}}", "METHOD.NAME=dn4").notes == []


def test_plugins_are_imported_before_the_schemas_are_asked(write, schemas, tmp_path, monkeypatch):
    for name in ("of_the_file", "of_the_command_line"):
        write("", f"{name}_.py")
    monkeypatch.syspath_prepend(tmp_path)
    imported = []

    def ask():
        imported.extend(name for name in ("of_the_file_", "of_the_command_line_") if sys.modules.pop(name, None))
        return schemas()

    leaf = write("PLUGINS: [of_the_file_]")
    assert load(leaf, [], ask).cfg.PLUGINS == imported == ["of_the_file_"]
    assert load(leaf, ["PLUGINS=[of_the_command_line_]"], ask).cfg.PLUGINS == imported[1:] == ["of_the_command_line_"]
    load(write(), [], ask)
    assert len(imported) == 2


@pytest.mark.parametrize(
    ("plugins", "message"),
    [("mine", "PLUGINS is 'mine', which is not a list"), ("[no_such_]", "PLUGINS names 'no_such_'")],
)
def test_plugins_that_cannot_be_imported(plugins, message, refused):
    assert message in refused(f"PLUGINS: {plugins}")


def test_every_file_is_read_once(write, schemas, monkeypatch):
    write("SEED: 1", "a.yaml")
    leaf = write("_BASE_: a.yaml\nREFERENCE: {ACCURACY: 50, SOURCE: a table, STATUS: paper}")
    names = []
    monkeypatch.setattr(read, "read_regular", lambda path: names.append(path.name) or path.read_bytes())
    load(leaf, ["TASK.TEST.SHOT=5"], schemas)
    assert names == ["leaf.yaml", "a.yaml"]


REFERENCE = "REFERENCE: {ACCURACY: 50, CI: 0.7, SOURCE: a table, STATUS: paper}\n"


@pytest.mark.parametrize("overrides", [[], ["EVAL.SEED=1", "SEED", "2"], ["TASK.TEST.SHOT=5", "REFERENCE.ACCURACY=60"]])
def test_reference_stays(read, overrides):
    loaded = read(REFERENCE, *overrides)
    assert loaded.cfg.REFERENCE.SOURCE == loaded.values["REFERENCE.SOURCE"] == "a table"


@pytest.mark.parametrize("override", ["TASK.TEST.SHOT=5", "METHOD.ARGS.scale=3", "STAGE.meta.OPTIM={LR: 1.0}"])
def test_reference_is_left_out_where_the_command_line_changes_what_it_is_for(read, override):
    loaded = read(REFERENCE, override, "SEED=1")
    assert dict(loaded.cfg.REFERENCE) == {"ACCURACY": 0.0, "CI": 0.0, "FIGURES": [], "SOURCE": "", "STATUS": ""}
    assert {loaded.values[f"REFERENCE.{key}"] for key in ("ACCURACY", "SOURCE")} == {0.0, ""}
    assert "REFERENCE" not in loaded.diff()
    assert loaded.cfg.is_frozen()


def test_reference_that_is_left_out_is_checked_all_the_same(refused):
    assert "without SOURCE and STATUS" in refused("REFERENCE: {ACCURACY: 50}", "TASK.TEST.SHOT=5")
    assert "which is not a number" in refused("REFERENCE: {ACCURACY: high}", "TASK.TEST.SHOT=5")


def test_diff_lists_changes_with_their_source(write, schemas):
    write("TASK: {TEST: {SHOT: 5, WAY: 5}}", "_base_/N5K5.yaml")
    leaf = write("_BASE_: _base_/N5K5.yaml\nMETHOD: {NAME: DN4, ARGS: {k: 1}}\nDATASET: {TEST: {NAME: B}}")
    loaded = load(leaf, ["STAGE.meta.OPTIM.LR", "3e-4"], schemas)
    assert loaded.diff().splitlines() == [
        f"config  {leaf}",
        "  DATASET.TEST.NAME    ''       -> B       leaf.yaml",
        "  TASK.TEST.SHOT       1        -> 5       _base_/N5K5.yaml",
        "  METHOD.NAME          ProtoNet -> DN4     leaf.yaml",
        "  METHOD.ARGS.k        3        -> 1       leaf.yaml",
        "  STAGE.meta.OPTIM.LR  0.001    -> 0.0003  command line",
    ]
    assert loaded.sources["TASK.TEST.WAY"] == "_base_/N5K5.yaml"


def test_diff_of_the_defaults_is_one_line(write, schemas):
    leaf = write()
    assert load(leaf, [], schemas).diff() == f"config  {leaf}"


@pytest.mark.parametrize("text", ["", TWO_STAGES, "DATASET: {NAME: '5'}", "METHOD: {NAME: Baseline}"])
def test_saved_configuration_loads_to_the_same(write, text, schemas):
    loaded = load(write(text), ["SEED=4", "STAGE.meta.OPTIM.LR=1e-5"], schemas)
    for saved in (loaded.full(), loaded.cfg.dump(sort_keys=False)):
        again = load(write(saved, "saved.yaml"), [], schemas)
        assert again.cfg == loaded.cfg
        assert again.notes == []
    assert load(write(loaded.full(), "saved.yaml"), [], schemas).full() == loaded.full()


@pytest.mark.parametrize(
    "over",
    [
        ["METHOD.ARGS.k=9"],
        ["METHOD.NAME=ProtoNet"],
        ["OBJECTIVE.NAME=arcface"],
        ["TASK.TEST.SHOT=5", "DATASET.NAME=Other"],
        ["STAGES=[meta]"],
    ],
)
def test_overrides_of_a_saved_configuration_act_as_on_the_original(write, over, schemas):
    original = write(TWO_STAGES)
    saved = write(load(original, [], schemas).full(), "saved.yaml")
    assert load(saved, over, schemas).cfg == load(original, over, schemas).cfg


def test_a_former_name_of_an_argument_is_still_understood(read):
    file = "METHOD: {NAME: NegMargin, ARGS: {tau: 3}}"
    loaded = read(file)
    assert loaded.cfg.METHOD.ARGS.scale == 3.0
    assert loaded.notes == ["METHOD.ARGS.tau (leaf.yaml) is now called METHOD.ARGS.scale."]
    assert read(file, "METHOD.ARGS.scale=5").cfg.METHOD.ARGS.scale == 5.0
    loaded = read("METHOD: {NAME: NegMargin, ARGS: {scale: 3}}", "METHOD.ARGS.tau=5")
    assert loaded.cfg.METHOD.ARGS.scale == 5.0
    assert "METHOD.ARGS.tau (command line)" in loaded.notes[0]


def test_a_former_name_beside_the_present_one_is_refused(refused):
    said = refused("METHOD: {NAME: NegMargin, ARGS: {tau: 3, scale: 2}}")
    assert said == "leaf.yaml: METHOD.ARGS.tau is the former name of METHOD.ARGS.scale, which is set too; remove it."


def test_a_former_name_of_another_class_s_argument_is_unknown(refused):
    assert "unknown key METHOD.ARGS.tau" in refused("METHOD: {NAME: ProtoNet, ARGS: {tau: 3}}")
