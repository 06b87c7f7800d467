"""--save-features DIR --splits: features of images become a data set, and give what the images gave."""

import numpy as np
import pytest

from core.data.store import read_split, split_dir
from core.engine.features import ImageEncoder
from core.prepare import lowshot
from core.prepare.collect import Options
from core.prepare.prepare import check_prepared, prepare
from tests.prepare.fake_features import small_lowshot
from tests.prepare.test_imagenet import small_imagenet, write_imagenet
from tests.protocols.test_lowshot import FAST
from tests.workspace import PROTONET, Workspace, best

STORED = ("train", "val", "test", "train-queries", "val-queries", "test-queries")
IMAGES = PROTONET | {
    "DATASET": {"NAME": "ImageNet", "SIZE": 16},
    "TASK": {"TEST": {"WAY": 3, "SHOT": 1, "QUERY": 2}},
    "METHOD": {"NAME": "SimpleShot", "ARGS": {"norm": "L2N"}},
    "STAGES": ["base"],
    "STAGE": {"base": FAST | {"STREAM": "batches", "BATCH": 8}},
    "EVAL": {"EPISODES": 4, "TRIALS": 3},
}


@pytest.fixture
def images(tmp_path, monkeypatch, capsys):
    """A workspace whose data folder holds ImageNet's images in small."""
    monkeypatch.setattr(lowshot, "TRAINING_IMAGES", 12 * 4)
    monkeypatch.setattr(lowshot, "PER_CLASS", 2)
    prepare(tmp_path / "data", small_imagenet(16), Options((write_imagenet(tmp_path / "ILSVRC"),), workers=1))
    return Workspace(tmp_path, tmp_path / "data", monkeypatch, capsys)


def config(space, tree=IMAGES, root=None, **dataset):
    keys = tree["DATASET"] | {"ROOT": str(root or space.root)} | dataset
    return space.config(tree, f"{len(list(space.path.iterdir()))}.yaml", DATASET=keys)


def test_features_of_imagenet_give_lowshot_what_its_images_give(images):
    cfg, target = config(images), images.path / "features"
    checkpoint = best(images.train(cfg))
    code, out, err = images.evaluator(cfg, "-c", checkpoint, "--save-features", target, "--splits", *STORED)
    assert (code, err) == (0, "")
    assert out.count("features  ") == 6
    assert f"features  24 of 6 classes of train  {target}/ImageNet-LowShot/features/train" in out
    splits = check_prepared(target, small_lowshot().dataset)
    for split in splits:
        source = read_split(split_dir(images.root, "ImageNet", 16, split.name))
        assert (split.fingerprint, split.classes) == (source.fingerprint, source.classes)
        assert split.manifest.get("groups") == source.manifest.get("groups")
        assert (split.dataset, split.images.dtype) == ("ImageNet-LowShot", np.float32)
    # The head is the mean of normalised vectors, so vectors and images give the same shares.
    stored = IMAGES | {"METHOD": {"NAME": "CosineProtoNet"}, "BACKBONE": {"NAME": "Features"}, "STAGES": ["meta"]}
    stored |= {"STAGE": {"meta": FAST}, "DATASET": {"NAME": "ImageNet-LowShot"}}
    options = ("--lowshot", "test", "--shots", 1, 2)
    code, out, err = images.evaluator(config(images, stored, target), "--untrained", *options)
    assert (code, err, out.count("CosineProtoNet  ImageNet-LowShot group test  n = ")) == (0, "", 2)
    direct = stored | {"BACKBONE": IMAGES["BACKBONE"], "DATASET": IMAGES["DATASET"]}
    kept = (f"STAGE.meta.INIT={checkpoint}", "STAGE.meta.OPTIM.LR=1.0e-30", "STAGE.meta.BN=frozen")
    cosine = images.train(config(images, direct), *kept)
    code, direct_out, err = images.evaluator(cosine / "config.yaml", "-c", best(cosine), *options)
    assert (code, err) == (0, "")
    shares = [
        line.split("top-5")[1].split("(")[0] for line in (*out.splitlines(), *direct_out.splitlines()) if "n = " in line
    ]
    assert len(shares) == 4
    assert shares[:2] == shares[2:]


def test_features_of_any_data_set_are_read_under_its_name(space, trained):
    target = space.path / "features"
    options = ("--save-features", target, "--splits", "train", "val", "test", "EVAL.EPISODES=40")
    code, out, err = space.evaluator(trained[0], "-c", best(trained[1]), *options)
    assert (code, err, out.count("features  ")) == (0, "", 3)
    assert not list(trained[1].glob("eval/*/features*"))
    cfg = space.config(
        PROTONET | {"BACKBONE": {"NAME": "Features"}},
        "Stored.yaml",
        DATASET={"ROOT": str(target), "NAME": "features:glyphs"},
    )
    code, out, err = space.evaluator(cfg, "--untrained")
    assert (code, err) == (0, "")
    direct = space.evaluator(trained[0], "-c", best(trained[1]))[1]
    assert out.split("  ")[4] == direct.split("  ")[3]  # the accuracy
    assert "±" in out.split("  ")[4]


def test_a_block_at_a_time_is_in_memory(space, trained, monkeypatch):
    sizes, real = [], ImageEncoder.inputs

    def inputs(self, ids):
        sizes.append(len(ids))
        return real(self, ids)

    monkeypatch.setattr(ImageEncoder, "inputs", inputs)
    options = ("--save-features", space.path / "features", "--splits", "train", "EVAL.BATCH=16")
    assert space.evaluator(trained[0], "-c", best(trained[1]), *options)[0] == 0
    assert set(sizes) == {16}


def test_what_cannot_be_exported_is_said(space, trained, refused):
    command = ("run_evaluator.py", "--cfg", trained[0], "-d", "cpu", "-c", best(trained[1]), "--splits", "train")
    assert refused(*command).startswith("--save-features is missing; name the data folder")
    assert "with --splits it names a folder" in refused(*command, "--save-features", space.path / "f.npz")
    wrong = refused(*command, "tets", "--save-features", space.path / "f")
    assert wrong == "--splits names 'tets', which is not one of: test, train, val."
    assert space.evaluator(*command[2:], "--save-features", space.path / "f")[0] == 0
    assert "is there already; delete it first" in refused(*command, "--save-features", space.path / "f")
    cfg = space.config(name="Stored.yaml", DATASET={"ROOT": str(space.path / "f"), "NAME": "features:Glyphs"})
    sentence = refused(
        "run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", "BACKBONE.NAME=Features", "BACKBONE.ARGS={}"
    )
    assert "of which" in sentence
    assert "--save-features" in sentence
