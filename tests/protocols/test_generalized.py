"""--generalized: novel classes among all base classes, from the command line."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import build_evaluator
from core.build.networks import build_method
from core.engine.checkpoint import load, restore
from core.engine.features import ImageEncoder
from core.protocols.generalized import JointCounts
from tests.workspace import PROTONET, TWO_STAGES, best

HELD = "DATASET.BASE_HOLDOUT=4"
NEGMARGIN = TWO_STAGES | {
    "STAGES": ["base"],
    "STAGE": {"base": {key: TWO_STAGES["STAGE"]["base"][key] for key in ("STREAM", "EPOCHS", "STEPS", "VAL")}},
    "METHOD": {"NAME": "NegMargin", "ARGS": {"head_passes": 4}},
    "OBJECTIVE": {"NAME": "negmargin"},
}


@pytest.mark.parametrize("tree", [PROTONET, NEGMARGIN])
def test_a_checkpoint_is_evaluated_among_all_base_classes(space, tree):
    cfg = space.config(tree)
    run = space.train(cfg, HELD)
    code, out, err = space.evaluator(cfg, "-c", best(run), "--generalized", HELD)
    assert (code, err) == (0, "")
    assert "base classes" in out
    (folder,) = (run / "eval" / best(run).stem).iterdir()
    assert folder.name.startswith("generalized_test_3w1s")
    figures = json.loads((folder / "generalized.json").read_text())["figures"]
    rows = list(csv.DictReader((folder / "episodes.csv").read_text().splitlines()))
    assert len(rows) == 40
    for name in ("novel", "base", "novel_joint", "base_joint"):
        mean = 100 * sum(int(row[name]) for row in rows) / (40 * 15)
        assert figures[name]["mean"] == pytest.approx(mean)
    assert figures["novel_joint"]["mean"] <= figures["novel"]["mean"]
    assert figures["base_joint"]["mean"] <= figures["base"]["mean"]


def test_novel_accuracy_is_that_of_the_ordinary_evaluation(space):
    cfg = space.config()
    run = space.train(cfg, HELD)
    plain = json.loads((space.evaluate(cfg, best(run), HELD) / "result.json").read_text())
    folder = space.evaluate(cfg, best(run), HELD, protocol="generalized")
    figures = json.loads((folder / "generalized.json").read_text())["figures"]
    assert figures["novel"] == pytest.approx({"mean": plain["mean"], "ci95": plain["ci95"]})


def test_each_method_has_a_result_of_its_own(space):
    cfg = space.config()
    run = space.train(cfg, HELD)
    code, out, err = space.evaluator(cfg, "-c", best(run), "--generalized", "--methods", "own,CosineProtoNet", HELD)
    assert (code, err) == (0, "")
    assert "CosineProtoNet on features of ProtoNet  Glyphs" in out
    plain, other = sorted((run / "eval" / best(run).stem).iterdir())
    assert other.name == f"{plain.name}_CosineProtoNet"
    for folder, method in ((plain, "ProtoNet"), (other, "CosineProtoNet")):
        assert json.loads((folder / "generalized.json").read_text())["method"] == method


def test_base_scores_are_distances_to_the_means_of_the_kept_images(space):
    cfg = space.config()
    run = space.train(cfg, HELD)
    builder = Data(load_config(cfg, [HELD]).cfg, torch.device("cpu"))
    method = build_method(builder)
    restore(method, load(best(run))["method"], best(run))
    method.eval()
    train, pixels = builder.split("train"), builder.pixels("train")
    holdout, _ = builder.held_out()
    assert set(holdout.names).isdisjoint(train.names)
    with torch.no_grad():
        vectors = method.encode({"image": pixels.gather(torch.arange(len(train.labels)))})["vector"]
    mean = torch.stack([vectors[torch.from_numpy(train.labels) == c].mean(0) for c in range(len(train.classes))])
    evaluator = build_evaluator(builder, "test")
    source = evaluator.source(method)
    with torch.no_grad():
        _, task = next(iter(evaluator.tasks(source, 2, evaluator.sampler, ("vector", "base"))))
        scores = method.base_logits(task)
    expected = -torch.cdist(task.query["vector"].double(), mean.double().expand(2, -1, -1)).square()
    torch.testing.assert_close(scores.double(), expected, rtol=1e-3, atol=1e-3)


def test_held_out_images_are_opened_and_encoded_once_for_all_questions(space, monkeypatch):
    cfg = space.config()
    run = space.train(cfg, HELD)
    alone = [
        space.evaluate(cfg, best(run), HELD, protocol="generalized", shots=[shot]) / "episodes.csv" for shot in (1, 2)
    ]
    before = [file.read_bytes() for file in alone]
    opened, encoded = [], []
    held_out, blocks = Data.held_out, ImageEncoder.blocks

    def counted_blocks(self, ids):
        encoded.extend(ids.tolist() if self.pixels is opened[0][1] else [])
        return blocks(self, ids)

    monkeypatch.setattr(Data, "held_out", lambda self: opened.append(held_out(self)) or opened[-1])
    monkeypatch.setattr(ImageEncoder, "blocks", counted_blocks)
    space.evaluate(cfg, best(run), HELD, protocol="generalized", shots=[1, 2])
    assert [file.read_bytes() for file in alone] == before
    assert len(opened) == 1
    assert sorted(encoded) == list(range(8 * 4))


def test_what_cannot_be_asked_is_said(space, refused):
    cfg = space.config()
    run = space.train(cfg)
    sentence = refused("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "-c", best(run), "--generalized")
    assert sentence.startswith("DATASET.BASE_HOLDOUT is 0")
    sentence = refused("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "-c", best(run), "--generalized", HELD)
    assert "was trained with DATASET.BASE_HOLDOUT 0" in sentence
    arguments = ("--generalized", HELD, "--save-features", space.path / "f.npz")
    sentence = refused("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "-c", best(run), *arguments)
    assert sentence.startswith("--save-features is ")
    assert "the protocol generalized does not take it; of these options it takes --shots and --ways" in sentence


def test_an_untrained_network_has_seen_no_image(space):
    code, out, err = space.evaluator(space.config(), "--untrained", "--generalized", HELD)
    assert (code, err) == (0, "")
    assert "untrained  ProtoNet  Glyphs test  3-way 1-shot + 8 base classes  novel " in out


def test_an_untrained_classifier_scores_no_base_class(space, refused):
    command = ("run_evaluator.py", "--cfg", space.config(), "-d", "cpu", "--untrained", "--generalized", HELD)
    sentence = refused(*command, "--methods", "own,Baseline")
    assert "Baseline scores base classes with a classifier that training learns, and here it is untrained" in sentence


@pytest.mark.parametrize("name", ["R2D2", "LR-D2", "RFS", "TIM", "Ensemble"])
def test_scores_on_a_scale_of_their_own_stand_beside_no_others(space, refused, name):
    cfg = space.config(PROTONET | {"METHOD": {"NAME": name}})
    sentence = refused("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", "--generalized", HELD)
    assert sentence.startswith(f"{name} scores the classes of a task on a scale that depends on the task")


# Figures against loops written from their definitions.


def made(episodes=40, queries=6, base_queries=5, seed=0, step=None):
    rng = np.random.default_rng(seed)
    leads = rng.normal(0.3, 1, (episodes, queries)), rng.normal(-0.3, 1, (episodes, base_queries))
    if step:
        leads = tuple(np.round(lead / step) * step for lead in leads)
    return JointCounts(
        rng.random((episodes, queries)) < 0.7, leads[0], rng.random((episodes, base_queries)) < 0.8, leads[1]
    )


def test_accuracies_are_counted_in_each_space():
    joint = made()
    figures = joint.figures("t_ddof1")
    novel, joined, both = [], [], []
    for e in range(40):
        right = [joint.novel_hit[e, q] and joint.novel_lead[e, q] > 0 for q in range(6)]
        base_right = [joint.base_hit[e, q] and joint.base_lead[e, q] <= 0 for q in range(5)]
        novel.append(100 * sum(joint.novel_hit[e]) / 6)
        joined.append(100 * sum(right) / 6)
        both.append(100 * (sum(right) + sum(base_right)) / 11)
    assert figures["novel"]["mean"] == pytest.approx(np.mean(novel))
    assert figures["novel_joint"]["mean"] == pytest.approx(np.mean(joined))
    assert figures["both"]["mean"] == pytest.approx(np.mean(both))
    drops = [figures[f"{kind}_joint"]["mean"] - figures[kind]["mean"] for kind in ("novel", "base")]
    assert figures["delta"]["mean"] == pytest.approx(sum(drops) / 2)
    u, s = figures["novel_joint"]["mean"], figures["base_joint"]["mean"]
    assert figures["hmean"] == pytest.approx(2 * u * s / (u + s))


@pytest.mark.parametrize("step", [None, 0.5])
def test_ausuc_is_the_area_under_the_curve_over_all_biases(step):
    joint = made(step=step)
    thresholds = np.unique(np.concatenate([joint.novel_lead.ravel(), joint.base_lead.ravel()]))
    curve = [(joint.novel_hit.mean(), 0.0)]
    for bias in thresholds:
        novel = (joint.novel_hit & (joint.novel_lead > bias)).mean()
        base = (joint.base_hit & (joint.base_lead <= bias)).mean()
        curve.append((novel, base))
    area = sum((y1 - y0) * (x0 + x1) / 2 for (x0, y0), (x1, y1) in pairwise(curve))
    assert joint.ausuc() == pytest.approx(area)


def test_a_perfect_method_has_full_area_and_a_blind_one_none():
    hits = np.ones((3, 4), bool)
    assert JointCounts(hits, np.full((3, 4), 2.0), hits, np.full((3, 4), -1.0)).ausuc() == 1
    assert JointCounts(hits, np.full((3, 4), -1.0), hits, np.full((3, 4), 2.0)).ausuc() == 0
    assert JointCounts(hits, np.zeros((3, 4)), hits, np.zeros((3, 4))).ausuc() == 0.5
