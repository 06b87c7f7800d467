"""A checkpoint stands by itself: its configuration, its classes, and the reference that its training earned."""

import shutil

import pytest
import torch

from core.commands import evaluate
from core.engine import checkpoint
from core.errors import UserError
from tests.workspace import META, PROTONET, best, result

REFERENCE = {"ACCURACY": 60.0, "SOURCE": "made up", "STATUS": "paper"}


@pytest.fixture
def alone(trained, tmp_path):
    """A checkpoint away from its run folder."""
    return shutil.copy(best(trained[1]), tmp_path / "elsewhere.pth")


@pytest.fixture
def own_data(tiny_root, tmp_path):
    """Data of this test's own, under a name that is not drawn where it is missing."""
    root = tmp_path / "own"
    shutil.copytree(tiny_root / "Glyphs", root / "CIFAR-FS", ignore=shutil.ignore_patterns("features"))
    for manifest in root.glob("CIFAR-FS/*/*/manifest.json"):
        manifest.write_text(manifest.read_text().replace('"Glyphs"', '"CIFAR-FS"'))
    return root


def test_a_checkpoint_alone_answers_as_with_its_config(trained, space, alone):
    with_config = space.evaluate(trained[0], alone, "EVAL.SEED=3")
    shutil.move(with_config, space.path / "first")
    code, out, _ = space.script("run_evaluator.py", "--run", alone, "-d", "cpu", "EVAL.SEED=3")
    assert code == 0
    assert "EVAL.SEED=3" not in out
    assert (with_config / "episodes.csv").read_bytes() == (space.path / "first/episodes.csv").read_bytes()


def test_what_a_checkpoint_says(trained):
    meta = checkpoint.load(best(trained[1]))["meta"]
    assert meta["config"] == (trained[1] / "config.yaml").read_text()
    assert meta["splits"]["train"]["classes"] == [f"train{c}" for c in range(8)]
    assert {"mean", "std", "counts", "fingerprint", "size"} <= meta["splits"]["train"].keys()
    assert set(meta["made_with"]) == {"fiveway", "torch", "commit"}


def test_base_classes_need_not_be_prepared_where_a_checkpoint_is_evaluated(space, own_data):
    keys = [f"DATASET.ROOT={own_data}", "DATASET.NAME=CIFAR-FS"]
    run = space.train(space.config(), *keys)
    before = space.evaluate(run / "config.yaml", run, *keys)
    episodes = (before / "episodes.csv").read_bytes()
    shutil.rmtree(before)
    shutil.rmtree(own_data / "CIFAR-FS/16px/train")
    shutil.rmtree(own_data / "CIFAR-FS/16px/val")
    evaluate("", ["EVAL.CACHE=false"], [str(run)], device_name="cpu")
    assert (before / "episodes.csv").read_bytes() == episodes


def test_what_needs_their_images_says_how_they_are_prepared(space, own_data):
    tree = {**PROTONET, "METHOD": {"NAME": "SimpleShot"}, "STAGE": {"meta": META | {"STREAM": "batches"}}}
    run = space.train(space.config(tree), f"DATASET.ROOT={own_data}", "DATASET.NAME=CIFAR-FS")
    shutil.rmtree(own_data / "CIFAR-FS/16px/train")
    code, _, err = space.script("run_evaluator.py", "--run", run, "-d", "cpu", "EVAL.CACHE=false")
    assert code == 2
    assert "which is not prepared under" in err


def test_an_old_checkpoint_takes_the_config_of_its_run_folder_or_asks_for_one(trained, space, tmp_path):
    content = torch.load(best(trained[1]), weights_only=True)
    for name in ("config", "splits", "made_with"):
        del content["meta"][name]
    old = tmp_path / "old" / "ebest_3way_1shot.pth"
    old.parent.mkdir()
    torch.save(content, old)
    code, _, err = space.script("run_evaluator.py", "-c", old, "-d", "cpu")
    assert (code, "does not hold its configuration, as it is an old one; give --cfg FILE" in err) == (2, True)
    shutil.copy(trained[1] / "config.yaml", old.parent)
    assert space.script("run_evaluator.py", "-c", old, "-d", "cpu")[0] == 0


def test_modules_that_a_checkpoint_names_are_not_imported_unasked(trained, space, tmp_path):
    content = torch.load(best(trained[1]), weights_only=True)
    content["meta"]["config"] = content["meta"]["config"].replace("PLUGINS: []", "PLUGINS: [evil]")
    file = tmp_path / "named.pth"
    torch.save(content, file)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    code, _, err = space.script("run_evaluator.py", "-c", file, "-d", "cpu")
    assert (code, "whose import runs them; if you trust them, give PLUGINS=[evil] as well" in err) == (2, True)
    assert not (tmp_path / "ran").exists()


def test_several_checkpoints_need_a_config(trained, space, alone):
    code, _, err = space.script("run_evaluator.py", "-c", alone, best(trained[1]), "-d", "cpu")
    assert (code, "--cfg is missing" in err) == (2, True)


def test_a_short_training_earns_no_reference(space):
    cfg = space.config(REFERENCE=REFERENCE)
    whole = space.train(cfg, tag="whole")
    short = space.train(cfg, "STAGE.meta.EPOCHS=1", tag="short")
    assert result(space.evaluate(cfg, whole))["reference"]["accuracy"] == 60
    assert result(space.evaluate(cfg, short))["reference"] is None


def test_a_config_that_is_no_yaml_is_refused(space, tmp_path):
    torch.save({"method": {}, "meta": {"config": "a: ["}}, tmp_path / "broken.pth")
    with pytest.raises(UserError, match="not valid YAML"):
        evaluate("", [], [str(tmp_path / "broken.pth")], device_name="cpu")
