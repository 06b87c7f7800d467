"""`-c` takes what a shell makes of a glob; options may follow it."""

import shutil
from pathlib import Path

import pytest
import torch

from core.build.config import schemas
from core.cli.common import split_options
from core.engine import selection
from core.engine.selection import refuse_different_network
from core.errors import UserError
from core.registry import BACKBONES
from tests.workspace import PROTONET, Workspace, best

MAML = {"NAME": "MAML", "ARGS": {"steps": 1, "test_steps": 1}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_root):
    """A checkpoint folder with runs of three configs, one of them with another seed and another width."""
    space = Workspace(tmp_path_factory.mktemp("runs"), tiny_root, None, None)
    one = "STAGE.meta.EPOCHS=1"
    proto = space.config()
    space.train(proto, one)
    space.train(proto, one, "SEED=1")
    space.train(proto, one, "BACKBONE.ARGS.width=4", tag="thin")
    space.train(proto, one, "METHOD.ARGS.scale=0.5", tag="flat")
    space.train(space.config(name="Other.yaml"), one)
    adapted = PROTONET | {"METHOD": MAML, "BACKBONE": {"NAME": "Conv4", "ARGS": {"width": 8, "norm": "batch"}}}
    space.train(space.config(adapted, "Maml.yaml"), one)
    (space.base / "notes").mkdir()
    (space.base / "notes" / "empty.pth").write_bytes(b"")
    return space.path


@pytest.fixture
def here(runs, monkeypatch):
    """The user's folder is the current one."""
    monkeypatch.chdir(runs)
    return runs


def globbed(here):
    return [f"./{path.relative_to(here)}" for path in sorted(here.glob("checkpoint/*/*.pth"))]


def test_best_checkpoint_of_each_run_of_the_config(space, here, monkeypatch):
    monkeypatch.setattr(selection, "FEW", 99)
    code, out, err = space.evaluator("Proto.yaml", "-c", *globbed(here))
    assert (code, err) == (0, "")
    assert out.count("ProtoNet  Glyphs test  3-way 1-shot") == 2
    for run in ("Glyphs_Proto", "Glyphs_Proto_s1"):
        assert f"result files  checkpoint/{run}/eval/ebest_3way_1shot/" in out
    skipped = dict(line.removeprefix("skipped  ").split(": ", 1) for line in out.splitlines() if "skipped" in line)
    reasons = {
        "Glyphs_Proto/last.pth": "not the best checkpoint of its run",
        "Glyphs_Proto_s1/last.pth": "not the best checkpoint of its run",
        "Glyphs_Proto_thin/last.pth": "not the best checkpoint of its run",
        "Glyphs_Proto_flat/last.pth": "not the best checkpoint of its run",
        "Glyphs_Other/ebest_3way_1shot.pth": "of config Glyphs/Other",
        "Glyphs_Other/last.pth": "of config Glyphs/Other",
        "Glyphs_Maml/ebest_3way_1shot.pth": "of config Glyphs/Maml",
        "Glyphs_Maml/last.pth": "of config Glyphs/Maml",
        "Glyphs_Proto_thin/ebest_3way_1shot.pth": "trained with BACKBONE ",
        "Glyphs_Proto_flat/ebest_3way_1shot.pth": 'trained with METHOD {"NAME": "ProtoNet", "ARGS": ',
        "notes/empty.pth": "checkpoint/notes/empty.pth is not a readable checkpoint",
    }
    assert skipped.keys() == {f"checkpoint/{path}" for path in reasons}
    for path, reason in reasons.items():
        assert skipped[f"checkpoint/{path}"].startswith(reason)


def test_many_skipped_files_are_one_line(space, here):
    out = space.evaluator("Proto.yaml", "-c", *globbed(here))[1]
    (line,) = [line for line in out.splitlines() if line.startswith("skipped")]
    assert line.startswith("skipped  11 of 13 files: ")
    assert set(line.split(": ", 1)[1].split(", ")) == {
        "4 not the best checkpoint of its run",
        "4 of another config",
        "2 of another network",
        "1 unreadable",
    }


def test_a_run_folder_means_its_best_checkpoint(space, here):
    code, out, err = space.evaluator("Proto.yaml", "-c", "checkpoint/Glyphs_Proto")
    assert (code, err) == (0, "")
    assert "result files  checkpoint/Glyphs_Proto/eval/ebest_3way_1shot/" in out
    assert "run Glyphs_Proto" not in out
    out = space.evaluator(
        "Proto.yaml", "-c", *(f"checkpoint/Glyphs_{name}" for name in ("Proto", "Proto_s1", "Other"))
    )[1]
    results = [line for line in out.splitlines() if line.startswith("ProtoNet  ")]
    assert [line.rsplit("  ", 1)[1] for line in results] == ["run Glyphs_Proto", "run Glyphs_Proto_s1"]
    assert "skipped  checkpoint/Glyphs_Other: of config Glyphs/Other" in out


def test_a_folder_without_a_best_checkpoint_says_so(space, here):
    code, _, err = space.evaluator("Proto.yaml", "-c", "checkpoint/notes")
    assert (code, err.startswith("error: checkpoint/notes holds no best checkpoint")) == (2, True)


def test_the_method_of_a_wrong_checkpoint_is_named(space, here):
    code, _, err = space.evaluator("Proto.yaml", "-c", "checkpoint/Glyphs_Maml")
    assert (code, "is a checkpoint of MAML, but the config says ProtoNet" in err) == (2, True)


def test_overrides_choose_the_run_they_trained(space, here):
    out = space.evaluator("Proto.yaml", "-c", *globbed(here), "BACKBONE.ARGS.width", "4")[1]
    assert out.count("result files") == 1
    assert "result files  checkpoint/Glyphs_Proto_thin" in out


def test_saved_config_stands_for_its_run(space, here):
    out = space.evaluator("checkpoint/Glyphs_Proto_thin/config.yaml", "-c", *globbed(here))[1]
    assert out.count("result files") == 1
    assert "result files  checkpoint/Glyphs_Proto_thin" in out


def test_none_of_several_is_refused_with_every_reason(space, here):
    cfg = space.config(name="Third.yaml")
    code, out, err = space.evaluator(cfg, "-c", *globbed(here))
    assert (code, out) == (2, "")
    assert err.startswith("error: --checkpoint (-c) names 13 files, of which none is the best checkpoint of a run of ")
    assert "of config Glyphs/Other" in err


def test_one_file_alone_is_taken_whatever_its_name_way_and_shot(space, here):
    cfg = space.config(name="Third.yaml", TASK={"TEST": {"WAY": 4, "SHOT": 2, "QUERY": 3}})
    code, out, _ = space.evaluator(cfg, "-c", here / "checkpoint/Glyphs_Proto/last.pth")
    assert code == 0
    assert "ProtoNet  Glyphs test  4-way 2-shot" in out


def test_options_after_the_files(space, here):
    code, out, _ = space.evaluator("Proto.yaml", "-c", *globbed(here), "TASK.TEST.SHOT", "2", "EVAL.EPISODES=30")
    assert code == 0
    assert out.count("3-way 2-shot") == 2
    assert "(30 episodes" in out


def test_options_before_the_files_and_on_their_own(space, here):
    best_of = best(here / "checkpoint" / "Glyphs_Proto")
    for arguments in (
        ["EVAL.EPISODES", "30", "-c", best_of],
        ["-c", best_of, "EVAL.EPISODES", "30"],
        ["-c", best_of, "--threads", "1", "EVAL.EPISODES", "30"],
        ["EVAL.EPISODES=30", "--checkpoint", best_of],
    ):
        assert "(30 episodes" in space.evaluator("Proto.yaml", *arguments)[1]


def test_command_in_the_style_of_other_frameworks_runs(space, here):
    (here / "configs" / "Glyphs").mkdir(parents=True, exist_ok=True)
    shutil.copy("Proto.yaml", "configs/Glyphs/Proto.yaml")
    arguments = ["--cfg", "./configs/Glyphs/Proto.yaml", "-c", *globbed(here), "--device", "0"]
    code, out, err = space.script("run_evaluator.py", *arguments)
    assert (code, err) == (0, "")
    assert out.count("result files") == 2


@pytest.mark.parametrize("option", ["SHOOT", "task.test.shot"])
def test_mistyped_option_is_not_taken_for_a_file_and_left_out(space, here, option):
    code, out, err = space.evaluator("Proto.yaml", "-c", *globbed(here), option, "5")
    assert (code, out) == (2, "")
    assert option in err


def test_glob_that_matched_nothing_is_refused(space, here):
    code, _, err = space.evaluator("Proto.yaml", "-c", "nowhere/*/*.pth")
    assert (code, err.count("\n")) == (2, 1)
    assert "nowhere/*/*.pth does not exist" in err


def test_a_file_called_like_a_key_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SEED").touch()
    assert split_options(["SEED", "A.pth", "EVAL.SEED", "1"]) == (["SEED", "A.pth"], ["EVAL.SEED", "1"])
    assert split_options(["a.pth", "SAVE_MINUTES=5"]) == (["a.pth"], ["SAVE_MINUTES=5"])


def test_a_former_name_of_an_argument_is_compared_under_the_present_one():
    schemas()  # registers the classes
    backbone = {"NAME": "Conv4", "ARGS": dict(BACKBONES.arguments("Conv4").defaults)}
    meta = {"stage": "meta", "final": True, "dataset": "Glyphs", "backbone": backbone}
    wanted = meta | {"method": {"NAME": "MetaBaseline", "ARGS": {"scale": 10.0}}}
    same, other = (meta | {"method": {"NAME": "MetaBaseline", "ARGS": {"tau": tau}}} for tau in (10.0, 3.0))
    refuse_different_network(wanted, same, Path("old.pth"))
    with pytest.raises(UserError, match=r"^old\.pth was trained with METHOD .*\"tau\": 3\.0"):
        refuse_different_network(wanted, other, Path("old.pth"))


def test_an_old_checkpoint_that_does_not_name_its_config_is_skipped_with_a_line(space, here, tmp_path):
    good = here / "checkpoint" / "Glyphs_Proto"
    saved = torch.load(best(good), weights_only=True)
    del saved["meta"]["stem"]
    torch.save(saved, tmp_path / "ebest_old.pth")
    code, out, err = space.evaluator("Proto.yaml", "-c", good, tmp_path / "ebest_old.pth")
    assert (code, err) == (0, "")
    assert "ebest_old.pth: of config Glyphs/(unknown)" in out
