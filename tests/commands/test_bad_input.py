"""What a user can get wrong is one sentence, exit code 2, and nothing written."""

import pytest
import yaml

from core.build.config import schemas
from tests.workspace import PROTONET, best

NEGMARGIN = ("METHOD.NAME=NegMargin", "STAGE.meta.STREAM=batches", "OBJECTIVE.NAME=negmargin")
BIG = "TASK.TEST={WAY: 3, SHOT: 10, QUERY: 15}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["TASK.TEST.SHOOT=1"], "command line: unknown key TASK.TEST.SHOOT (did you mean TASK.TEST.SHOT?)."),
        (["TASK.TEST.SHOTS=[1, 2]"], "TASK.TEST.SHOTS is [1, 2], which must be 3 numbers of 1 or more, one for each"),
        (["TASK.TEST.SHOTS=[1, 2, 30]"], "TASK.TEST.SHOT + TASK.TEST.QUERY is 30 + 5 = 35, but class 'test0' of the"),
        (["TASK.TEST.QUERY_ALPHA=0.01"], "TASK.TEST.QUERY_ALPHA is 0.01; it must be 0, for balanced queries, or from"),
        (
            ["TASK.TEST.QUERY_ALPHA=2", "TASK.TEST.QUERY=7", "TASK.VAL.QUERY=5", "TASK.TRAIN.QUERY=5"],
            "TASK.TEST.QUERY_ALPHA is 2, so that all 21 queries of an episode may be of one class, but",
        ),
        (["TASK.TEST.QUERIES=58"], "TASK.TEST.QUERIES is 58, but 3 classes of the test split of Glyphs may have no"),
        (
            ["TASK.TEST.QUERIES=5", "TASK.TEST.SHOT=20", "TASK.VAL.SHOT=1", "TASK.TRAIN.SHOT=1"],
            "SHOT + 1 query is 20 + 1",
        ),
        (["TASK.TEST.SHOT", "one"], "command line: TASK.TEST.SHOT is 'one', which is not an integer; only"),
        (["EVAL.EPISODES"], "EVAL.EPISODES on the command line has no value; write EVAL.EPISODES VALUE or"),
        (["METHOD.NAME=ProtNet"], "METHOD.NAME is 'ProtNet', which is not one of: "),
        (["METHOD.NAME=ProtNet"], "(did you mean ProtoNet?)"),
        (["BACKBONE.NAME=Conv5"], "BACKBONE.NAME is 'Conv5', which is not one of: "),
        (["OBJECTIVE.NAME=cee"], "OBJECTIVE.NAME is 'cee', which is not one of: "),
        (["OBJECTIVE.NAME=negmargin", "OBJECTIVE.ARGS.marge=1"], "unknown key OBJECTIVE.ARGS.marge"),
        (["STAGE.meta.STREAM=batches"], "STAGE.meta.STREAM is batches, but ProtoNet does not learn from batches; set"),
        (
            [*NEGMARGIN, "OBJECTIVE.ARGS.margin=-50"],
            "OBJECTIVE.ARGS.margin is -50.0, which at scale 10 moves the",
        ),
        ([*NEGMARGIN, "OBJECTIVE.ARGS.ramp=2"], "OBJECTIVE.ARGS.ramp is 2.0; it must be at least 0 and at most 1."),
        ([*NEGMARGIN, "METHOD.ARGS.head_passes=0"], "METHOD.ARGS.head_passes is 0; it must be at least 1."),
        (
            [*NEGMARGIN, "METHOD.ARGS.head_steps=[[5, 600]]"],
            "METHOD.ARGS.head_steps has no steps for 1 shots, only for",
        ),
        (["METHOD.NAME=MAML"], "BACKBONE.ARGS.norm keeps running statistics"),
        (
            ["METHOD.NAME=MAML", "BACKBONE.ARGS.norm=batch", "TASK.TRAIN.WAY=4"],
            "WAY is 3, but this MAML was trained with",
        ),
        (["BACKBONE.ARGS.norm=layer"], "BACKBONE.ARGS.norm is 'layer', which is not one of: running, batch."),
        (["TASK.TEST.WAY=7"], "WAY is 7, but the val split of Glyphs has 6 classes; lower it."),
        (["TASK.VAL.WAY=3", "TASK.TEST.WAY=7"], "TASK.TEST.WAY is 7, but the test split of Glyphs has 6 classes"),
        (["TASK.TRAIN.WAY=9"], "TASK.TRAIN.WAY is 9, but the train split of Glyphs has 8 classes; lower it."),
        (
            ["METHOD.NAME=DynamicFSL", "TASK.TRAIN.WAY=8", "TASK.TRAIN.BASE_QUERY=5"],
            "TASK.TRAIN.WAY is 8, which leaves no class of the train split of Glyphs for the base queries that TASK.",
        ),
        (["TASK.TRAIN.WAY=9", "TASK.TRAIN.BASE_QUERY=5"], "TASK.TRAIN.WAY is 9, but the train split of Glyphs has 8"),
        (["BACKBONE.VECTOR=cls"], "BACKBONE.VECTOR is cls, but BACKBONE.NAME Conv4 has no class token; set it to nati"),
        (["BACKBONE.VECTOR=both", "BACKBONE.NAME=ResNet12"], "is both, but BACKBONE.NAME ResNet12 has no class token"),
        (["TASK.TRAIN.QUERY=20"], "TASK.TRAIN.SHOT + TASK.TRAIN.QUERY is 1 + 20 = 21, but class 'train0'"),
        ([BIG, "TASK.TRAIN.SHOT=1", "TASK.VAL.SHOT=1"], "TASK.TEST.SHOT + TASK.TEST.QUERY is 10 + 15 = 25, but"),
        (["--device", "gpu"], "--device is 'gpu', which is neither a GPU's number nor cpu; write --device 0 or"),
        (["--device=-1"], "--device is '-1', which is neither a GPU's number nor cpu"),
        (["--threads", "-1"], "--threads is -1; give 1"),
        (["--threads", str(2**40)], f"--threads is {2**40}; give 1"),
        (["--tag", "../elsewhere"], "--tag is '../elsewhere', "),
        (["PLUGINS=[no_such_module]"], "PLUGINS names 'no_such_module', which Python cannot import ("),
        (["PLUGINS=['']"], "PLUGINS names '', which Python cannot import ("),
        (["PLUGINS=no_such_module"], "command line: PLUGINS is 'no_such_module', which is not a list"),
        (["STAGE.meta.INIT=weights.pth"], "STAGE.meta.INIT is weights.pth, which is not a file; give the path of"),
        (["STAGE.meta.AUGMENT=[cropp-4]"], "STAGE.meta.AUGMENT names 'cropp-4', which is not one of: "),
        (["DATASET.NAME=Glyph"], "NAME is 'Glyph', which is not one of: "),
        (["DATASET.NAME=CIFAR-FS"], "prepare_data.py CIFAR-FS --from PATH --size 16 --root /"),
    ],
)
def test_options(untrainable, space, arguments, sentence):
    said = untrainable(space.config(), *arguments)
    assert sentence in said
    assert "\n" not in said


def test_yaml_with_an_unknown_key_and_a_wrong_type_reports_both(untrainable, space):
    cfg = space.config(EVAL={"EPISODES": "many", "SEEDS": 1})
    said = untrainable(cfg).splitlines()
    assert said == [
        "Proto.yaml: EVAL.EPISODES is 'many', which is not an integer.",
        "Proto.yaml: unknown key EVAL.SEEDS (did you mean EVAL.SEED?).",
    ]


def test_missing_yaml(untrainable, space):
    missing = space.path / "none.yaml"
    sentence = untrainable(missing)
    assert sentence.startswith(f"{missing} cannot be read: No such file or directory; the folders of ")
    assert ", Glyphs, " in sentence


def test_bases_in_a_circle(untrainable, space):
    (space.path / "a.yaml").write_text("_BASE_: b.yaml")
    (space.path / "b.yaml").write_text("_BASE_: a.yaml")
    said = untrainable(space.path / "a.yaml")
    assert "_BASE_ leads back to the file itself (a.yaml -> b.yaml -> a.yaml); remove one of these links." in said


@pytest.mark.parametrize(
    "source",
    [
        "def broken(:\n",
        "import no_such_module\n",
        "1 / 0\n",
    ],
)
def test_plugin_that_fails(untrainable, space, monkeypatch, source):
    (space.path / "failing_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(space.path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    said = untrainable(space.config(PLUGINS=["failing_plugin"]))
    assert said.startswith("PLUGINS names 'failing_plugin', which Python cannot import (")
    assert "failing_plugin.py" in said
    assert " line " in said


def test_a_plugin_that_takes_a_name_of_fiveway(untrainable, space, monkeypatch):
    schemas()  # before the plugin, which else FiveWay's module would meet
    plugin = space.path / "taking_plugin.py"
    plugin.write_text('from core.registry import METHODS\n\n\n@METHODS.register("protonet")\nclass P: ...\n')
    monkeypatch.syspath_prepend(space.path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    said = untrainable(space.config(PLUGINS=["taking_plugin"]))
    assert said.startswith(
        f"{plugin} line 4: METHOD.NAME protonet is the name of class P in {plugin} and of class Prot"
    )


def test_way_and_shot_that_the_test_split_cannot_give(unfit, trained):
    checkpoint = best(trained[1])
    assert "TASK.TEST.WAY is 7, but the test split of Glyphs has 6 classes; lower it." in unfit(
        checkpoint, "TASK.TEST.WAY", "7"
    )
    assert "TASK.TEST.SHOT + TASK.TEST.QUERY is 16 + 5 = 21, but class 'test0' of the test split" in unfit(
        checkpoint, "TASK.TEST.SHOT", "16"
    )


def test_evaluating_without_saying_what(space):
    code, _, err = space.evaluator(space.config())
    assert code == 2
    assert "one of the arguments --checkpoint/-c/--run --checkpoint_base/-b --untrained is required" in err


def test_config_of_another_run_is_refused_and_the_run_stays(refused, space):
    run = space.train(space.config())
    said = refused("run_trainer.py", "--cfg", space.config(), "-c", space.base, "-d", "cpu", "EVAL.EPISODES=50")
    assert said == (
        f"{run} holds a run of another config (differs in EVAL.EPISODES); give --tag NAME for a folder of its own, "
        "or --overwrite to delete that run."
    )
    arguments = ("--cfg", space.config(), "-c", space.base, "-d", "cpu", "--resume", "METHOD.ARGS.scale=2")
    assert "another config (differs in METHOD.ARGS.scale)" in refused("run_trainer.py", *arguments)


def test_existing_run_is_not_touched_unless_asked(refused, space):
    run = space.train(space.config())
    said = refused("run_trainer.py", "--cfg", space.config(), "-c", space.base, "-d", "cpu")
    assert said == (
        f"{run} holds this run already (done); give --resume to go on with it, --tag NAME for another, "
        "or --overwrite to delete it and start again."
    )


def test_what_cannot_be_trained_does_not_overwrite(refused, space):
    space.train(space.config())
    arguments = ("--cfg", space.config(), "-c", space.base, "-d", "cpu", "--overwrite", "TASK.TEST.WAY=7")
    assert "WAY is 7" in refused("run_trainer.py", *arguments)


def test_run_folder_that_cannot_be_made(refused, space):
    base = space.path / "file"
    base.write_text("not a folder")
    said = refused("run_trainer.py", "--cfg", space.config(), "-c", base, "-d", "cpu")
    file = base / "Glyphs_Proto" / "config.yaml"
    assert said == f"{file} cannot be written (Not a directory); make room, or give another folder."


def test_resume_and_overwrite_exclude_each_other(space):
    code, _, err = space.trainer(space.config(), "--resume", "--overwrite")
    assert code == 2
    assert "not allowed with argument --resume" in err
    assert not space.base.exists()


def test_learned_head_of_another_way(refused, space):
    backbone = {"NAME": "Conv4", "ARGS": {"width": 8, "norm": "batch"}}
    cfg = space.config(PROTONET | {"METHOD": {"NAME": "MAML", "ARGS": {"steps": 1}}, "BACKBONE": backbone})
    checkpoint = best(space.train(cfg, "STAGE.meta.EPOCHS=1"))
    arguments = ("--cfg", cfg, "-d", "cpu", "-c", checkpoint, "TASK.TEST.WAY=4")
    assert "2 missing, 2 unexpected" in refused("run_evaluator.py", *arguments)
    assert "with a head of 3 classes" in refused("run_evaluator.py", *arguments, "TASK.TRAIN.WAY=3")


def test_loss_that_explodes_says_what_to_lower(space):
    code, _, err = space.trainer(space.config(), "STAGE.meta.OPTIM.LR=1e30")
    assert code == 2
    assert "error: STAGE.meta: the loss became " in err
    assert "lower OPTIM.LR, or set OPTIM.CLIP." in err


def test_yaml_that_is_no_mapping(untrainable, space):
    (space.path / "list.yaml").write_text(yaml.safe_dump([1, 2]))
    assert "must be a mapping of keys to values" in untrainable(space.path / "list.yaml")
