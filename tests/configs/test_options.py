"""Options of a stage that one YAML shows: frozen batch-norms, pretrained weights, a loss for itself; and `crop`."""

import pytest
import torch

from core.backbones.blocks import ConvBN
from core.backbones.conv4 import Conv4
from core.build.config import load_config
from core.commands import train
from tests.configs.leaves import ROOT

SMALL = ["DATASET.NAME=Glyphs", "DATASET.SIZE=16", "BACKBONE.ARGS.width=4", "SEED=0"]
SMALL += ["TASK.TRAIN.WAY=3", "TASK.TRAIN.QUERY=2", "TASK.TEST.WAY=3"]


def short(stage):
    return [f"STAGE.{stage}.EPOCHS=1", f"STAGE.{stage}.STEPS=2", f"STAGE.{stage}.VAL.EPISODES=4"]


@pytest.fixture
def trained(tiny_root, tmp_path, monkeypatch):
    """Train a leaf for two steps a stage; returns the entries of the last stage's network, and of the first's."""
    monkeypatch.chdir(tmp_path)

    def run(leaf, *overrides):
        keys = [*SMALL, f"DATASET.ROOT={tiny_root}", *overrides]
        run = train(str(ROOT / leaf), keys, device_name="cpu", base=str(tmp_path), evaluate_after=False)
        files = [*run.glob("ebest_*.pth"), *(tmp_path / "pretrained").glob("Glyphs_*.pth")]
        return [torch.load(file, weights_only=True)["method"] for file in files]

    return run


def test_frozen_batch_norms_keep_the_statistics_of_base_training(trained):
    stages = [*short("base"), "STAGE.base.OPTIM.SCHEDULE=constant", *short("meta")]
    meta, base = trained("CIFAR-FS/MetaBaseline_frozenBN_N5K1_C4.yaml", *stages)
    statistics = [name for name in meta if name.endswith(("running_mean", "running_var"))]
    assert len(statistics) == 8
    assert all(torch.equal(meta[name], base[name]) for name in statistics)
    weight = "backbone.layers.0.0.weight"
    assert not torch.equal(meta[weight], base[weight])


def test_a_stage_may_have_a_loss_for_itself(trained):
    stages = [*short("base"), "STAGE.base.OPTIM.SCHEDULE=constant", *short("meta")]
    meta, base = trained("CIFAR-FS/MetaBaseline_NegMargin_N5K1_C4.yaml", *stages)
    assert "classifier.weight" in base
    assert "classifier.weight" not in meta
    cfg = load_config(ROOT / "CIFAR-FS/MetaBaseline_NegMargin_N5K1_C4.yaml").cfg
    assert [cfg.STAGE[name].OBJECTIVE.NAME for name in cfg.STAGES] == ["negmargin", "ce"]


def test_training_starts_from_pretrained_weights(trained, tmp_path):
    (tmp_path / "pretrained").mkdir()
    blocks = [layer for layer in Conv4(16, "native", width=4).layers if isinstance(layer, ConvBN)]
    weights = torch.nn.Sequential(*blocks).state_dict()
    torch.save(weights, tmp_path / "pretrained/Conv4.pth")
    (network,) = trained("Glyphs/ProtoNet_pretrained_N5K1_C4.yaml", *short("meta"), "STAGE.meta.OPTIM.LR=1e-12")
    torch.testing.assert_close(network["backbone.layers.0.0.weight"], weights["0.0.weight"])


@pytest.mark.parametrize(
    ("leaf", "overrides", "transforms"),
    [
        ("CIFAR-FS/ProtoNet_N5K1_C4.yaml", [], ["crop-4", "flip"]),
        ("CIFAR-FS/ProtoNet_N5K1_C4.yaml", ["DATASET.SIZE=84"], ["crop-8", "flip"]),
        ("CIFAR-FS/ProtoNet_N5K1_C4.yaml", ["STAGE.meta.AUGMENT=[crop-2]"], ["crop-2"]),
        ("CIFAR-FS/ProtoNet_N5K1_C4.yaml", ["STAGE.meta.AUGMENT=[jitter-0.4,crop]"], ["jitter-0.4", "crop-4"]),
        ("miniImagenet/ProtoNet_20way_N5K1_C4.yaml", [], ["crop-8", "flip"]),
        ("miniImagenet/ProtoNet_N5K1_C4.yaml", [], []),
        ("Glyphs/ProtoNet_N5K1_C4.yaml", [], []),
        ("ImageNet-LowShot/ProtoNet_N5K1_Features.yaml", [], []),
    ],
)
def test_a_crop_pads_as_the_size_of_the_images_asks(leaf, overrides, transforms):
    augmentation = load_config(ROOT / leaf, overrides).cfg.STAGE.meta.AUGMENT
    assert augmentation == transforms
