"""Objectives with word vectors and parameters of their own, through the commands."""

import json

import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_method
from core.build.training import build_streams
from core.engine.checkpoint import load
from core.errors import UserError
from core.methods.protonet import ProtoNet
from core.registry import METHODS
from tests.workspace import META, PROTONET, best, interrupt_in, metrics, same_run

TRAML = {"NAME": "traml", "ARGS": {"learn": "joint", "hidden": 4}}
BATCHES = {
    "METHOD": {"NAME": "NegMargin", "ARGS": {"head_passes": 4}},
    "STAGE": {"meta": META | {"STREAM": "batches", "BATCH": 16}},
}


@pytest.fixture
def words(tmp_path):
    """Word vectors of the training classes alone."""
    file = tmp_path / "words.txt"
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(8, 5, generator=generator).tolist()
    file.write_text("".join(f"train{c} {' '.join(map(str, row))}\n" for c, row in enumerate(rows)))
    return file


@pytest.fixture
def words_of_all(tmp_path, words):
    file = tmp_path / "all.txt"
    file.write_text(
        words.read_text() + "".join(f"{s}{c} {c + 1} 1 {c} 2 1\n" for s in ("val", "test") for c in range(6))
    )
    return file


def builder(cfg, *overrides):
    return Data(load_config(cfg, overrides).cfg, torch.device("cpu"))


def at(file):
    return f"DATASET.SEMANTICS={file}"


@pytest.mark.parametrize("tree", [PROTONET, PROTONET | BATCHES], ids=["episodes", "batches"])
def test_the_generator_is_trained_logged_saved_and_resumed(space, monkeypatch, words_of_all, tree):
    cfg = space.config(tree, OBJECTIVE=TRAML)
    code, _, err = space.trainer(cfg, at(words_of_all), "-e", "0")
    assert code == 0, err
    whole = space.base / "Glyphs_Proto"
    records = metrics(whole)
    for record in records:
        assert 0 <= record["margin_min"] <= record["margin_mean"] <= record["margin_max"]
    assert records[0]["alpha"] != records[-1]["alpha"] != 1
    fresh = build_method(builder(cfg, at(words_of_all))).state_dict()
    trained = load(best(whole))["method"]
    moved = [name for name, value in trained.items() if name.startswith("objective.") and not value.equal(fresh[name])]
    assert {"objective.generator.0.weight", "objective.generator.4.bias"} <= set(moved)
    assert fresh["objective.generator.0.weight"].shape == (4, 2 if tree is PROTONET else 7)

    killed = space.path / "killed"
    interrupt_in(monkeypatch, "meta", 1)
    with pytest.raises(KeyboardInterrupt):
        space.train(cfg, at(words_of_all), base=str(killed))
    assert same_run(space.train(cfg, at(words_of_all), base=str(killed), resume=True), whole)


def test_test_classes_need_no_words_and_any_way_will_do(space, words, monkeypatch):
    """What the objective wants, training alone needs."""
    monkeypatch.setattr("core.build.data.OWN_FILE", words)
    cfg = space.config(OBJECTIVE=TRAML)
    made = builder(cfg)
    assert made.words("train").shape == (8, 5)
    with pytest.raises(UserError, match="which has no word of 'val0'"):
        made.words("val")
    run = space.train(cfg)
    assert json.loads((space.evaluate(cfg, best(run)) / "result.json").read_text())["way"] == 3
    other = space.evaluate(cfg, best(run), "TASK.TEST.WAY=4")
    assert json.loads((other / "result.json").read_text())["way"] == 4


class Reader(ProtoNet):
    """Reads words only if told so."""

    def __init__(self, backbone, info, *, words: bool = False):
        super().__init__(backbone, info)
        self.word_dim = info.word_dim if words else 0
        if words:
            self.needs = ("vector", "semantics")


@pytest.mark.parametrize("reads", [False, True])
def test_a_method_may_read_words_when_it_is_built(space, words_of_all, monkeypatch, reads):
    monkeypatch.setitem(METHODS._classes, "Reader", Reader)
    Reader.name = "Reader"
    monkeypatch.setattr("core.build.data.OWN_FILE", words_of_all if reads else space.path / "absent.txt")
    made = builder(space.config(METHOD={"NAME": "Reader", "ARGS": {"words": reads}}))
    method = build_method(made)
    assert method.word_dim == (5 if reads else 0)
    (stream,) = build_streams(made, "meta", method)
    assert (stream.at(0, 0.0).semantics is not None) == reads


def test_a_stage_of_another_way_is_a_sentence(space, words_of_all):
    cfg = space.config(METHOD={"NAME": "TADAM"}, OBJECTIVE=TRAML)
    made = builder(cfg, at(words_of_all))
    method = build_method(made)
    method.objective.prepare(4)
    (stream,) = build_streams(made, "meta", method)
    with pytest.raises(UserError, match=r"built for 4 classes, but a training step has 3; train with one TASK"):
        method.loss(stream.at(0, 0.0).encoded(method.encode))


def test_resuming_at_another_way_is_a_sentence(space, words_of_all, monkeypatch):
    cfg = space.config(OBJECTIVE=TRAML)
    interrupt_in(monkeypatch, "meta", 1)
    with pytest.raises(KeyboardInterrupt):
        space.train(cfg, at(words_of_all))
    code, _, err = space.trainer(cfg, at(words_of_all), "TASK.TRAIN.WAY=4", "--resume")
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_frozen_batch_norm_is_the_backbones_and_not_the_generators(space, words_of_all):
    cfg = space.config(OBJECTIVE=TRAML)
    state = load(best(space.train(cfg, at(words_of_all), "STAGE.meta.BN=frozen")))["method"]
    counters = {name: int(value) for name, value in state.items() if name.endswith("num_batches_tracked")}
    of_generator = {name for name in counters if name.startswith("objective.")}
    assert len(of_generator) == 2
    assert all((count > 0) == (name in of_generator) for name, count in counters.items())
