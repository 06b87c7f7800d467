"""What names a shared stage: everything that shapes it, and nothing else."""

import importlib
import os
import subprocess
import sys

import pytest
import torch
from torchvision import models

from core.build.config import load_config
from core.build.data import Data
from core.build.identity import code_hash, describe, features_key, learned_from, other_store, stage_key
from core.build.networks import build_method
from core.episode import DataInfo
from core.paths import ROOT
from core.registry import METHODS
from tests.methods.small import conv4
from tests.workspace import PROTONET, TWO_STAGES


def name_of_base(cfg, *overrides):
    data = Data(load_config(cfg, overrides).cfg, torch.device("cpu"))
    methods = {stage: build_method(data, stage) for stage in data.cfg.STAGES}
    return stage_key(data, methods, "base")


@pytest.mark.parametrize(
    ("override", "reused"),
    [
        ("STAGE.base.OPTIM.LR=0.01", False),
        ("STAGE.base.AUGMENT=[]", False),
        ("STAGE.base.ARGS.scale=5", False),
        ("BACKBONE.ARGS.width=4", False),
        ("SEED=1", False),
        ("TASK.VAL.SHOT=2", False),
        ("STAGE.base.VAL.SHOT=2", False),
        ("STAGE.base.DROPOUT=false", False),
        ("DATASET.EVAL_CROP=0.9", False),
        ("DATASET.EVAL_CROP=1", True),
        ("TASK.TRAIN.SHOT=2", True),
        ("STAGE.meta.VAL.SHOT=2", True),
        ("STAGE.meta.OPTIM.LR=0.01", True),
        ("EVAL.EPISODES=30", True),
        ("EVAL.BATCH=8", True),
        ("TASK={TEST: {SHOT: 2}, VAL: {SHOT: 1}, TRAIN: {SHOT: 1}}", True),
    ],
)
def test_everything_that_shapes_a_stage_and_nothing_else_names_it(space, override, reused):
    cfg = space.config(TWO_STAGES, "Two.yaml")
    assert (name_of_base(cfg, override) == name_of_base(cfg)) == reused


def test_the_images_that_count_for_base_means_name_a_stage_that_validates_with_them(space):
    base = TWO_STAGES["STAGE"]["base"] | {"METHOD": "SimpleShot", "ARGS": {}, "OBJECTIVE": {"NAME": "ce"}}
    cfg = space.config(TWO_STAGES | {"STAGE": TWO_STAGES["STAGE"] | {"base": base}}, "Shot.yaml")
    assert name_of_base(cfg, "EVAL.BASE_IMAGES=3") != name_of_base(cfg)
    other = space.config(TWO_STAGES, "Two.yaml")
    assert name_of_base(other, "EVAL.BASE_IMAGES=3") == name_of_base(other)


@pytest.mark.parametrize(
    ("methods", "shared"),
    [
        ([{"NAME": "SimpleShot"}, {"NAME": "RFS"}, {"NAME": "Ensemble"}], True),
        ([{"NAME": "STLDeepBDC"}, {"NAME": "DN4"}], True),
        ([{"NAME": "STLDeepBDC"}, {"NAME": "STLDeepBDC", "ARGS": {"reduce": 4}}], False),
        ([{"NAME": "RFS"}, {"NAME": "DN4"}], False),
    ],
)
def test_methods_share_the_features_of_a_frozen_encoder_where_they_read_the_same(space, tmp_path, methods, shared):
    torch.manual_seed(0)
    torch.save(models.shufflenet_v2_x0_5(weights=None).state_dict(), tmp_path / "weights.pth")
    encoder = {"NAME": "torchvision:shufflenet_v2_x0_5", "WEIGHTS": str(tmp_path / "weights.pth"), "ARGS": {"size": 32}}
    keys = []
    for method in methods:
        tree = {**PROTONET, "BACKBONE": encoder, "METHOD": method, "STAGES": []}
        del tree["STAGE"]
        data = Data(load_config(space.config(tree)).cfg, torch.device("cpu"))
        network = build_method(data)
        keys.append(features_key(data, network, data.split("test"), network.name + str(method.get("ARGS"))))
    assert all(key == keys[0] for key in keys) == shared


def test_the_code_of_a_network_has_one_name_in_every_process(tmp_path):
    program = (
        "import core.build.identity as i, core.methods.protonet as p, core.backbones.conv4 as c, core.episode as e\n"
    )
    program += "print(i.code_hash(p.ProtoNet(c.Conv4(16, 'native'), e.DataInfo(2, 16, 5, 1, 1, base_counts=(9, 9)))))"
    names = set()
    for seed in "123456":
        started = {"env": {**os.environ, "PYTHONHASHSEED": seed}, "cwd": ROOT, "text": True, "check": True}
        names.add(subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, **started).stdout)
    assert len(names) == 1


def test_a_helper_of_a_users_method_counts_as_its_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users_helper.py").write_text("FACTOR = 1\n")
    program = "import users_helper\nfrom core.methods.protonet import ProtoNet\nclass Mine(ProtoNet): ...\n"
    (tmp_path / "users_method.py").write_text(program)
    network = importlib.import_module("users_method").Mine(conv4(), DataInfo(2, 16, 5, 1, 1))
    before = code_hash(network)
    (tmp_path / "unrelated.py").write_text("FACTOR = 1\n")
    assert code_hash(network) == before
    (tmp_path / "users_helper.py").write_text("FACTOR = 2\n")
    assert code_hash(network) != before


def test_the_code_of_a_users_method_names_its_stage(space, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "users_stage.py"
    file.write_text("from core.methods.negmargin import NegMargin\nclass Mine(NegMargin):\n    name = 'Mine'\n")
    monkeypatch.setitem(METHODS._classes, "Mine", importlib.import_module("users_stage").Mine)
    cfg = space.config(TWO_STAGES, "Two.yaml")
    before = name_of_base(cfg, "STAGE.base.METHOD=Mine")
    assert name_of_base(cfg, "STAGE.base.METHOD=Mine") == before
    file.write_text(f"{file.read_text()}    scale = 5.0\n")
    assert name_of_base(cfg, "STAGE.base.METHOD=Mine") != before


def test_a_helper_of_a_users_method_names_its_stage(space, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    helper = tmp_path / "stage_helper.py"
    helper.write_text("FACTOR = 1\n")
    program = (
        "import stage_helper\nfrom core.methods.negmargin import NegMargin\nclass Mine(NegMargin):\n    name = 'Mine'\n"
    )
    (tmp_path / "helped_stage.py").write_text(program)
    monkeypatch.setitem(METHODS._classes, "Mine", importlib.import_module("helped_stage").Mine)
    cfg = space.config(TWO_STAGES, "Two.yaml")
    before = name_of_base(cfg, "STAGE.base.METHOD=Mine")
    helper.write_text("FACTOR = 2\n")
    assert name_of_base(cfg, "STAGE.base.METHOD=Mine") != before


def test_a_changed_module_of_plugins_is_noticed_at_resume_and_at_test(space, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "users_proto.py"
    file.write_text("from core.methods.protonet import ProtoNet\nclass Mine(ProtoNet):\n    name = 'Mine'\n")
    monkeypatch.setitem(METHODS._classes, "Mine", importlib.import_module("users_proto").Mine)
    cfg = space.config({**PROTONET, "METHOD": {"NAME": "Mine"}}, "Mine.yaml")

    def said():
        data = Data(load_config(cfg, [f"DATASET.ROOT={space.root}"]).cfg, torch.device("cpu"))
        return learned_from(data, build_method(data)), describe(data)

    (learned, before), (again, old) = said(), said()
    assert (again, other_store(old, before)) == (learned, "")
    file.write_text(f"{file.read_text()}    scale = 5.0\n")
    changed, now = said()
    assert [name for name in learned if learned[name] != changed[name]] == ["modules of PLUGINS"]
    assert other_store(now, before) != ""
    del old["stores"]["modules of PLUGINS"]
    assert other_store(now, old) == ""  # an old checkpoint does not say which modules it knows


def test_other_word_vectors_are_other_data(space, tmp_path):
    """At resume, where the words of training count, and at test, where the whole file does."""
    file = tmp_path / "vectors.txt"
    file.write_text("".join(f"{split}{c} {c} 1\n" for split in ("train", "val", "test") for c in range(8)))
    cfg = space.config({**PROTONET, "METHOD": {"NAME": "AM3"}}, "AM3.yaml")

    def said():
        data = Data(load_config(cfg, [f"DATASET.SEMANTICS={file}"]).cfg, torch.device("cpu"))
        return learned_from(data, build_method(data)), describe(data)

    (learned, before), old = said(), said()[1]
    assert other_store(before, before) == ""
    file.write_text(file.read_text().replace(" 1\n", " 2\n"))
    changed, now = said()
    assert [name for name in learned if learned[name] != changed[name]] == ["word vectors"]
    assert other_store(now, before) != ""
    del old["stores"]["word vectors"]
    assert other_store(now, old) == ""  # an old checkpoint does not say which words it knows


def test_word_vectors_and_held_out_images_name_it_too(space, tmp_path):
    cfg = space.config(TWO_STAGES, "Two.yaml")
    file = tmp_path / "vectors.txt"
    file.write_text("".join(f"{split}{c} {c} 1\n" for split in ("train", "val", "test") for c in range(8)))
    semantics = f"DATASET.SEMANTICS={file}"
    traml = "STAGE.base.OBJECTIVE.NAME=traml"
    names = [name_of_base(cfg), name_of_base(cfg, "DATASET.BASE_HOLDOUT=4"), name_of_base(cfg, semantics, traml)]
    assert len(set(names)) == 3
    assert name_of_base(cfg, semantics) == names[0]  # no method reads the words
    before = names[2]
    file.write_text(file.read_text().replace(" 1\n", " 2\n"))
    assert name_of_base(cfg, semantics, traml) != before


def test_a_checkpoint_says_what_it_is(space):
    data = Data(load_config(space.config(TWO_STAGES, "Two.yaml")).cfg, torch.device("cpu"))
    base, last = describe(data, "base"), describe(data)
    assert (base["stage"], base["final"], base["method"]["NAME"]) == ("base", False, "NegMargin")
    assert (last["stage"], last["final"], last["method"]["NAME"]) == ("meta", True, "ProtoNet")
    assert last["backbone"]["ARGS"]["width"] == 8
