"""The command lines of the M2L repository, as its users type them."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "./configs/Glyphs/MML_N5K1_C4.yaml"
SMALL = ["DATASET.SIZE=16", "BACKBONE.ARGS.width=4", "TASK.TEST.WAY=3", "TASK.TEST.QUERY=2", "TASK.TRAIN.QUERY=2"]
SHORT = ["EVAL.EPISODES=20"]
for stage in ("base", "meta"):
    SHORT += [f"STAGE.{stage}.{key}" for key in ("EPOCHS=2", "STEPS=2", "VAL.EPISODES=4", "OPTIM.SCHEDULE=constant")]
SHORT += ["STAGE.base.OPTIM.MILESTONES=[1]"]


@pytest.fixture
def here(tmp_path, tiny_root, monkeypatch):
    """A folder like the repository's, with data and without runs."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "data").symlink_to(tiny_root)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def glob(here):
    """What a shell makes of ./checkpoint/*/*.pth."""
    return [f"./{path.relative_to(here)}" for path in sorted(here.glob("checkpoint/*/*.pth"))]


def test_training_then_evaluating_what_the_glob_names(space, here):
    code, out, err = space.script("run_trainer.py", "--cfg", CONFIG, "--device", "0", *SMALL, *SHORT)
    assert code == 0, err
    assert out.count("MML  Glyphs test  3-way 1-shot") == 1
    files = glob(here)
    assert [file.rsplit("/", 1)[0] for file in files] == ["./checkpoint/Glyphs_MML_N5K1_C4"] * 2 + [
        "./checkpoint/pretrained"
    ]
    code, out, err = space.script("run_evaluator.py", "--cfg", CONFIG, "-c", *files, "--device", "0", *SMALL, *SHORT)
    assert code == 0, err
    assert "skipped  checkpoint/Glyphs_MML_N5K1_C4/last.pth: not the best checkpoint of its run" in out
    assert f"skipped  {Path(files[2])}: an earlier stage of a run" in out
    assert out.count("MML  Glyphs test  3-way 1-shot") == 1
    assert "result files  checkpoint/Glyphs_MML_N5K1_C4/eval/ebest_3way_1shot/" in out


def test_ablations_share_the_first_stage(space, here):
    keys = {level: f"METHOD.ARGS.{level}_weight=0" for level in ("part", "pixel", "distribution")}
    for level in keys:
        without = [key for other, key in keys.items() if other != level]
        views = [] if level == "part" else ["DATASET.VIEWS=[whole]"]
        options = ["--tag", level, "-e", "0", *SMALL, *SHORT, *without, *views]
        code, out, err = space.script("run_trainer.py", "--cfg", CONFIG, "--device", "0", *options)
        assert code == 0, err
        assert ("stage base: reusing" in out) == (level != "part")


def test_the_old_names_of_folders(space, here):
    named = ["-p", "runs/mine", "-c", "elsewhere", "-e", "0"]
    assert space.script("run_trainer.py", "--cfg", CONFIG, "--device", "0", *named, *SMALL, *SHORT)[0] == 0
    assert {path.name for path in (here / "runs/mine").glob("*.pth")} == {"last.pth", "ebest_3way_1shot.pth"}
    assert len(list((here / "elsewhere/pretrained").glob("*.pth"))) == 1
    code, out, err = space.script("run_evaluator.py", "--cfg", CONFIG, "-b", "runs", *SMALL, *SHORT)
    assert code == 0, err
    assert "result files  runs/mine/eval/ebest_3way_1shot/" in out


def test_a_base_folder_without_runs_is_refused(space, here):
    code, _, err = space.script("run_evaluator.py", "--cfg", CONFIG, "-b", "nowhere", *SMALL)
    assert (code, err[:38]) == (2, "error: nowhere/*/*.pth does not exist;")


def test_a_named_run_folder_takes_no_tag(space, here):
    code, _, err = space.script("run_trainer.py", "--cfg", CONFIG, "-p", "runs/mine", "--tag", "a", *SMALL, *SHORT)
    assert code == 2
    assert err.startswith("error: --tag is a, but --checkpoint_dir names the run folder already")
    assert not (here / "runs").exists()
