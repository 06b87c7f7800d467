"""Data sets that hold features: evaluated and trained on by YAML, with BACKBONE.NAME Features."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_method
from core.data.store import split_dir, write_split
from core.registry import METHODS
from tests.conftest import write_tiny_split
from tests.workspace import PROTONET, Workspace, best, result

ROOT = Path(__file__).parents[2]
FEATURES = PROTONET | {"DATASET": {"NAME": "ImageNet-LowShot"}, "BACKBONE": {"NAME": "Features"}}
SIMPLESHOT = {
    "METHOD": {"NAME": "SimpleShot"},
    "STAGE": {"meta": {"STREAM": "batches", "EPOCHS": 2, "STEPS": 0, "VAL": {"EPISODES": 20}}},
}


@pytest.fixture
def images(space):
    return space.config(name="Images.yaml")


@pytest.fixture
def stored(space, images, tmp_path, monkeypatch, capsys):
    """A workspace whose ImageNet-LowShot is what the untrained network of `images` makes of Glyphs."""
    builder = Data(load_config(images).cfg, torch.device("cpu"))
    method, root = build_method(builder).eval(), tmp_path / "features"
    for name in ("train", "val", "test"):
        split, pixels = builder.split(name), builder.pixels(name)
        with torch.no_grad():
            vectors = method.encode({"image": pixels.gather(torch.arange(len(pixels)))})["vector"].numpy()
        folder = split_dir(root, "ImageNet-LowShot", 0, name)
        write_split(folder, "ImageNet-LowShot", vectors, split.labels, split.classes, split.names, "made up")
    return Workspace(tmp_path, root, monkeypatch, capsys)


def config(space, **keys):
    return space.config(FEATURES | keys, DATASET={"ROOT": str(space.root), "NAME": "ImageNet-LowShot"})


def untrained(space, cfg, *arguments):
    """The accuracies that are printed."""
    code, out, _ = space.script("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", *arguments)
    assert code == 0
    return re.findall(r" test  .*? %", out)


def test_stored_features_are_worth_what_the_network_is(space, stored, images):
    heads = ("--methods", "own,SimpleShot")
    accuracies = untrained(stored, config(stored), *heads)
    assert accuracies == untrained(space, images, *heads)
    assert len(accuracies) == 2


@pytest.mark.parametrize(
    "keys",
    [{"BACKBONE": {"NAME": "Features", "ARGS": {"width": 6, "dropout": 0.1}}}, SIMPLESHOT],
    ids=["ProtoNet on a linear layer", "SimpleShot"],
)
def test_training_on_features(stored, keys):
    run = stored.train(config(stored, **keys), evaluate_after=True)
    record = result(next(run.glob("eval/*/*")))
    assert record["dataset"] == "ImageNet-LowShot"
    assert 100 / 3 < record["mean"] <= 100
    assert torch.load(best(run), weights_only=True)["meta"]["image_size"] == 0


def test_methods_that_adapt_get_features(stored):
    untrained(stored, config(stored, METHOD={"NAME": "MAML"}, BACKBONE={"NAME": "Features", "ARGS": {"width": 6}}))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "STAGE.meta.METHOD is ProtoNet, which has nothing to learn on BACKBONE.NAME Features"),
        ({"BACKBONE": {"NAME": "Conv4"}}, "BACKBONE.NAME is Conv4, but DATASET.TRAIN.NAME ImageNet-LowShot holds feat"),
        (
            {**SIMPLESHOT, "STAGE": {"meta": {"STREAM": "batches", "AUGMENT": ["flip"]}}},
            "AUGMENT is ['flip'], but feat",
        ),
    ],
)
def test_what_does_not_fit_is_said(stored, keys, message):
    code, _, err = stored.trainer(config(stored, **keys))
    assert code == 2
    assert message in err
    assert not stored.base.exists()


def test_a_method_on_maps_is_refused(stored, monkeypatch):
    monkeypatch.setattr(METHODS["ProtoNet"], "needs", ("map",))
    code, _, err = stored.trainer(config(stored))
    assert code == 2
    assert "METHOD.NAME is ProtoNet, which needs 'map' of images, but DATASET.TRAIN.NAME ImageNet-LowShot holds" in err


@pytest.mark.parametrize(("name", "need"), [("MML", "parts"), ("DeepEMD", "map"), ("RelationNet", "map")])
def test_a_method_that_decides_on_maps_when_it_is_built_is_refused(stored, name, need):
    code, _, err = stored.trainer(config(stored, METHOD={"NAME": name}))
    assert code == 2
    assert f"METHOD.NAME is {name}, which needs {need!r} of images, but DATASET.TRAIN.NAME ImageNet-LowShot" in err


def test_an_image_set_needs_a_network(space):
    code, _, err = space.trainer(space.config(BACKBONE={"NAME": "Features"}))
    assert code == 2
    assert "BACKBONE.NAME is Features, but DATASET.TRAIN.NAME Glyphs holds images; choose a network" in err


def test_features_of_two_networks_do_not_mix(stored):
    folder = split_dir(stored.root, "ImageNet-LowShot-Sorted", 0, "test")
    write_split(folder, "ImageNet-LowShot-Sorted", np.eye(4, dtype=np.float16), np.arange(4), [*"abcd"], [*"efgh"], "")
    cfg = config(stored)
    code, _, err = stored.script(
        "run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", "DATASET.TEST.NAME=ImageNet-LowShot-Sorted"
    )
    assert code == 2
    assert "holds features of length 4, but DATASET.TRAIN.NAME ImageNet-LowShot holds features of length 8" in err
    write_tiny_split(stored.root, "test", 4, 4)
    code, _, err = stored.script(
        "run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", "DATASET.TEST.NAME=Glyphs", "DATASET.SIZE=16"
    )
    assert code == 2
    assert "DATASET.SIZE is 16, but DATASET.TRAIN.NAME ImageNet-LowShot holds features; leave it 0" in err


def test_a_file_of_features_is_trained_and_tested_on_by_its_yaml(space, images):
    saved = space.path / "test.npz"
    arguments = ("--cfg", images, "-d", "cpu", "--untrained", "--save-features", saved)
    assert space.script("run_evaluator.py", *arguments)[0] == 0
    with np.load(saved) as arrays:
        vectors, labels = arrays["vector"], arrays["label"]
    names = np.array([f"{word}{label}" for word in ("old", "new", "other") for label in labels])
    np.savez(space.path / "mine.npz", features=np.concatenate([vectors, vectors + 1, vectors - 1]), labels=names)
    mine = f"features:{space.path / 'mine.npz'}"
    where = (f"DATASET.NAME={mine}", f"DATASET.ROOT={space.root}")
    cfg = ROOT / "configs/OwnFeatures/SimpleShot_N5K1_Features.yaml"
    few = ("TASK.TEST.WAY=2", "TASK.TEST.QUERY=3", "EVAL.EPISODES=20")
    code, _, err = space.script("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", *where, *few)
    assert code == 2
    command = f"python experiments/prepare_data.py {mine} --root {space.root}"
    assert f"which is not prepared under {space.root}: run `{command}`" in err
    code, out, err = space.script("prepare_data.py", mine, "--root", space.root)
    assert (code, err) == (0, "")
    assert "classes split by order of the classes by hash, seed 0" in out
    code, out, err = space.script("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", *where, *few)
    assert (code, err) == (0, "")
    assert "SimpleShot  features-mine.npz-" in out
    assert "external data: the network behind mine.npz, learned from data not known" in out
    learned = ROOT / "configs/OwnFeatures/ProtoNet_N5K1_Features.yaml"
    short = (
        "STAGE.meta.EPOCHS=1",
        "STAGE.meta.STEPS=2",
        "STAGE.meta.VAL.EPISODES=4",
        "TASK.TRAIN.WAY=2",
        "TASK.VAL.WAY=2",
    )
    code, out, err = space.trainer(learned, *where, *few, *short, "TASK.TRAIN.QUERY=3", "TASK.VAL.QUERY=3")
    assert (code, err) == (0, "")
    assert "ProtoNet  features-mine.npz-" in out
    assert "external data: the network behind mine.npz, learned from data not known" in out
