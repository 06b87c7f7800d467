"""--lowshot: ImageNet low-shot in small, from the command line."""

import csv
import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import chisquare

from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_method
from core.data.episodes import EpisodeSampler, Shape
from core.data.lowshot import FixedShots, open_group, read_draws
from core.data.store import read_split, split_dir
from core.engine.checkpoint import load, restore
from core.episode import Task
from core.methods.protonet import ProtoNet
from core.prepare import lowshot
from core.prepare.collect import Options
from core.prepare.prepare import prepare
from core.protocols.joint_regression import JointRegression, distinct
from core.protocols.lowshot import encode_all, shares
from tests.prepare.fake_features import ORDER, SMALL, features, small_lowshot, write_npz
from tests.workspace import PROTONET, Workspace, best

NAME = "ImageNet-LowShot"
FAST = {"EPOCHS": 1, "STEPS": 3, "VAL": {"EPISODES": 4}, "OPTIM": {"NAME": "sgd", "LR": 0.01}}
DYNAMIC = PROTONET | {
    "TASK": {"TEST": {"WAY": 3, "SHOT": 1, "QUERY": 2}, "TRAIN": {"BASE_QUERY": 4}},
    "BACKBONE": {"NAME": "Features", "ARGS": {"dropout": 0.5}},
    "METHOD": {"NAME": "DynamicFSL"},
    "STAGES": ["base", "meta"],
    "STAGE": {
        "base": FAST | {"METHOD": "DynamicFSL", "ARGS": {"generator": "none"}, "STREAM": "batches"},
        "meta": FAST,
    },
    "EVAL": {"EPISODES": 4, "TRIALS": 6, "PRIOR": 0.6},
}
PROTO = DYNAMIC | {"METHOD": {"NAME": "ProtoNet"}, "STAGES": ["meta"], "STAGE": {"meta": FAST}}


@pytest.fixture
def stored(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lowshot, "TRAINING_IMAGES", 12 * 9)
    monkeypatch.setattr(lowshot, "PER_CLASS", 4)
    arrays = [features(sorted(ORDER), count, seed) for count, seed in ((9, 0), (4, 1))]
    for content in arrays:
        content["all_features"] += np.random.default_rng(2).normal(0, 1.5, content["all_features"].shape)
    root = tmp_path / "data"
    prepare(root, small_lowshot(), Options(write_npz(tmp_path / "files", *arrays), class_ids="sorted"))
    return Workspace(tmp_path, root, monkeypatch, capsys)


def config(space, tree=DYNAMIC):
    return space.config(tree, DATASET={"ROOT": str(space.root), "NAME": NAME})


def trial(builder, method, group, shot, number):
    """Top-1 shares of one trial, image by image; scores from single-query tasks."""
    opened = open_group(builder.cfg.DATASET.ROOT, NAME, group)
    way = len(opened.shots.classes)
    drawn = EpisodeSampler(opened.shots, Shape(way, shot, 0), builder.cfg.EVAL.SEED).draw(torch.tensor([number]))
    classes, support = drawn.classes[0].tolist(), opened.shots.images[drawn.support[0]]
    mean = np.stack([support[i * shot : (i + 1) * shot] for i in range(way)]).astype(np.float64)
    hits = {"novel": [], "base": [], "all": []}
    weights = method.weight.detach().double().numpy()[opened.base_ids]
    for split, kind in ((opened.novel, "novel"), (opened.base, "base")):
        vectors = split.images if split.rows is None else split.images[split.rows]
        for z, y in zip(np.asarray(vectors, np.float64), split.labels.tolist(), strict=True):
            unit = z / np.linalg.norm(z)
            novel = [unit @ _unit(_weights(method, mean[n])) for n in range(way)]
            other = [unit @ _unit(w) for w in weights]
            label = classes.index(y) if kind == "novel" else y
            truth = len(other) + label if kind == "novel" else label
            hits[kind].append(np.argmax(novel if kind == "novel" else other) == label)
            hits["all"].append(np.argmax(other + novel) == truth)
    return {name: 100 * np.mean(outcomes) for name, outcomes in hits.items()}


def _unit(v):
    return v / np.linalg.norm(v)


def _weights(method, supports):
    """Eq. 7 and 8 over all base classes."""
    state = {name: value.double().numpy() for name, value in method.state_dict().items()}
    total = np.zeros(supports.shape[1])
    for z in supports:
        z = _unit(z)
        query = _unit(state["attention.query.weight"] @ z + state["attention.query.bias"])
        looked = np.exp(state["attention.gamma"] * np.array([query @ _unit(k) for k in state["attention.keys"]]))
        base = sum(a * _unit(w) for a, w in zip(looked / looked.sum(), state["weight"], strict=True))
        total += state["phi_avg"] * z + state["attention.phi_att"] * base
    return total / len(supports)


@pytest.mark.parametrize("group", ["val", "test"])
def test_a_checkpoint_is_trained_on_features_and_evaluated(stored, group):
    cfg = config(stored)
    run = stored.train(cfg)
    code, out, err = stored.evaluator(cfg, "-c", best(run), "--lowshot", group, "--shots", 1, 3)
    assert (code, err) == (0, "")
    assert out.count(f"group {group}") == 2
    builder = Data(load_config(cfg).cfg, torch.device("cpu"))
    method = build_method(builder)
    restore(method, load(best(run))["method"], best(run))
    for shot in (1, 3):
        folder = run / "eval" / best(run).stem / f"lowshot_{group}_{shot}shots_seed0_6"
        rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
        for number in (0, 5):
            expected = trial(builder, method, group, shot, number)
            accuracies = {name: float(rows[number][f"{name}_top1"]) for name in expected}
            assert accuracies == pytest.approx(expected, abs=1e-3)
        result = json.loads((folder / "lowshot.json").read_text())
        assert (result["way"], result["n_base"], result["queries"]) == (3, 3, {"novel": 12, "base": 12})
        mean = np.mean([float(row["all_top5"]) for row in rows])
        assert result["figures"]["all"]["top5"]["mean"] == pytest.approx(mean, abs=1e-3)
        assert 100 / 3 < result["figures"]["novel"]["top1"]["mean"] < 100


def test_methods_without_a_classifier_use_the_means_of_the_base_classes(stored):
    code, out, err = stored.evaluator(config(stored, PROTO), "--untrained", "--lowshot", "test")
    assert (code, err) == (
        2,
        "error: --lowshot: a trial takes 20 images of each class, but 'n10' has 9; give --shots.\n",
    )
    code, out, _ = stored.evaluator(config(stored, PROTO), "--untrained", "--lowshot", "test", "--shots", 5)
    assert code == 0
    assert "n = 5" in out


def test_queries_without_a_finite_score_are_no_result(stored, monkeypatch):
    monkeypatch.setattr(
        ProtoNet, "base_logits", lambda self, task: torch.full((1, task.query_y.shape[1], 12), math.inf)
    )
    code, _, err = stored.evaluator(config(stored, PROTO), "--untrained", "--lowshot", "test", "--shots", 5)
    assert code == 2
    assert "the largest logit of a query of episode 0 is inf: the network diverged" in err


def test_arguments_that_are_others_at_test_are_named(stored):
    tree = DYNAMIC | {
        "METHOD": {"NAME": "Baseline"},
        "STAGES": ["base"],
        "STAGE": {"base": FAST | {"STREAM": "batches"}},
    }
    cfg = config(stored, tree)
    run = stored.train(cfg)
    options = ("--lowshot", "test", "--shots", 1, "EVAL.TRIALS=2", "METHOD.ARGS.head_lr=0.02")
    code, out, err = stored.evaluator(cfg, "-c", best(run), *options)
    assert (code, err) == (0, "")
    assert "Baseline, head_lr 0.02 at test  " in out
    (folder,) = (run / "eval" / best(run).stem).iterdir()
    assert folder.name.endswith("_head_lr=0.02")


@pytest.mark.parametrize("name", ["Baseline", "NegMargin", "DynamicFSL"])
def test_an_untrained_classifier_scores_no_base_class(stored, refused, name):
    cfg = config(stored, DYNAMIC | {"METHOD": {"NAME": name}})
    command = ("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", "--lowshot", "test", "--shots", 1)
    assert refused(*command).startswith(
        f"{name} scores base classes with a classifier that training learns, and here it is"
    )


def test_features_have_no_centre(stored, refused):
    command = ("run_evaluator.py", "--cfg", config(stored, PROTO), "-d", "cpu", "--untrained", "DATASET.EVAL_CROP=0.9")
    assert "holds features, which cannot be cropped; set it to 1" in refused(*command)


def test_what_cannot_be_asked_is_said(space, stored, refused):
    cfg = config(stored, PROTO)
    command = ("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", "--lowshot")
    assert refused(*command, "both").startswith("--lowshot is 'both' on DATASET.TRAIN.NAME ImageNet-LowShot")
    assert refused(*command, "val", "--ways", 2).startswith("--ways is [2], but the protocol lowshot does not")
    assert refused(*command, "val", "--shots", 0) == "--shots lists 0; a novel class has 1 support or more."
    assert refused(*command, "val", "--group", "test").startswith(
        "--lowshot is val and --group test, which is the same"
    )
    glyphs = space.config(name="Glyphs.yaml")
    sentence = refused("run_evaluator.py", "--cfg", glyphs, "-d", "cpu", "--untrained", "--lowshot", "val")
    assert sentence.endswith("it evaluates group val or test of ImageNet-LowShot, trained on the same.")


# Shares against loops over images.


N, B, PRIOR = 7, 9, 0.7


def place(scores, truth):
    """Classes before the true one in a list of scores, lower labels first among equals."""
    order = sorted(range(len(scores)), key=lambda c: (-scores[c], c))
    return order.index(truth)


def softmax(scores):
    total = sum(math.exp(s) for s in scores)
    return [math.exp(s) / total for s in scores]


def test_every_figure():
    generator = torch.Generator().manual_seed(0)
    novel, base = (torch.randn(50, k, generator=generator, dtype=torch.float64) for k in (N, B))
    novel[3], base[41, 2:5] = 0.5, 1.25  # ties
    novel_y, base_y = torch.randint(N, (30,), generator=generator), torch.randint(B, (20,), generator=generator)
    ranks = {name: [] for name in ("novel", "base", "novel_all", "base_all", "all", "prior")}
    for i, (novel_row, base_row) in enumerate(zip(novel.tolist(), base.tolist(), strict=True)):
        truth = B + int(novel_y[i]) if i < 30 else int(base_y[i - 30])
        joint = place(base_row + novel_row, truth)
        if i < 30:
            ranks["novel"].append(place(novel_row, truth - B))
            ranks["novel_all"].append(joint)
        else:
            ranks["base"].append(place(base_row, truth))
            ranks["base_all"].append(joint)
        ranks["all"].append(joint)
        weighed = [(1 - PRIOR) * p for p in softmax(base_row)] + [PRIOR * p for p in softmax(novel_row)]
        ranks["prior"].append(place(weighed, truth))
    expected = [[100 * sum(r < top for r in places) / len(places) for top in (1, 5)] for places in ranks.values()]
    np.testing.assert_allclose(shares(novel, base, novel_y, base_y, PRIOR), expected)
    assert len({tuple(row) for row in expected}) > 4


@pytest.mark.parametrize(("prior", "novel", "base"), [(1 - 1e-12, 100, 0), (1e-12, 0, 100)])
def test_a_prior_near_one_side_gives_it_every_first_place(prior, novel, base):
    scores = torch.eye(4, dtype=torch.float64)
    of_novel = shares(scores, scores, torch.arange(4), torch.arange(0), prior)[5, 0]
    of_base = shares(scores, scores, torch.arange(0), torch.arange(4), prior)[5, 0]
    assert (of_novel, of_base) == (novel, base)


def write_draws(path, stored, offset=0):
    """A file of fixed shots: image i of each class, counted from `offset`, in the order of label_names."""
    rows = [[9 * number + (offset + shot) % 9 for shot in range(4)] for number in range(len(ORDER))]
    path.write_text(json.dumps(rows))
    return path


def test_fixed_draws_are_the_trials(stored, monkeypatch):
    monkeypatch.setattr("core.data.lowshot.lowshot_classes", lambda: SMALL)
    files = [write_draws(stored.path / f"splitfile_{n}.json", stored, n) for n in (1, 2)]
    splits = [read_split(split_dir(stored.root, NAME, 0, split)) for split in ("train", "val", "test")]
    images = read_draws(files, splits, "test")
    assert images.shape == (2, 3, 4)
    names = [splits[2].names[i] for i in images[1].flatten().tolist()]
    assert names == [f"n{c}_{i:05d}" for c in (10, 11, 12) for i in (2, 3, 4, 5)]
    sampler = EpisodeSampler(splits[2], Shape(3, 2, 0), 0)
    drawn = FixedShots(sampler, images).draw(torch.tensor([0, 1]))
    labels = torch.from_numpy(splits[2].labels)[drawn.support]
    assert torch.equal(labels, drawn.classes.repeat_interleave(2, 1))
    assert splits[2].names[drawn.support[0, 0]].endswith("_00001")
    cfg = config(stored, PROTO)
    checkpoint = best(stored.train(cfg, "BACKBONE.ARGS.width=4"))
    options = ("-c", checkpoint, "BACKBONE.ARGS.width=4", "--lowshot", "test", "--shots", 1)
    code, out, err = stored.evaluator(cfg, *options, "--draws", *files)
    assert (code, err) == (0, "")
    assert "(2 fixed draws, 3 novel and 3 base classes" in out
    stored.evaluator(cfg, *options, "EVAL.TRIALS=2")
    stored.evaluator(cfg, *options, "--draws", *reversed(files))
    folders = sorted(path.name for path in checkpoint.parent.glob("eval/*/*"))
    assert len(folders) == 3
    assert sum("_draws=" in name for name in folders) == 2


def test_draws_that_do_not_fit_are_refused(stored, refused, monkeypatch):
    monkeypatch.setattr("core.data.lowshot.lowshot_classes", lambda: SMALL)
    files = {name: stored.path / f"{name}.json" for name in ("good", "short", "text", "outside")}
    write_draws(files["good"], stored)
    files["short"].write_text("[[1, 2]]")
    files["text"].write_text("no JSON")
    files["outside"].write_text(files["good"].read_text().replace("[[0,", "[[200,").replace("63", "900"))
    command = (
        "run_evaluator.py",
        "--cfg",
        config(stored, PROTO),
        "-d",
        "cpu",
        "--untrained",
        "--lowshot",
        "test",
        "--draws",
    )
    assert "it holds [1, 2], not [12, shots] whole numbers" in refused(*command, files["short"], "--shots", 1)
    assert "which is no file of fixed shots (Expecting value" in refused(*command, files["text"], "--shots", 1)
    assert "lie outside its 9 training images" in refused(*command, files["outside"], "--shots", 1)
    assert "--shots lists 5, but the files of --draws hold 4 of a class" in refused(
        *command, files["good"], "--shots", 5
    )
    assert refused(*command, files["good"], "--shots", 1).startswith("--draws names one file, whose trial has no")


def test_published_figures_stand_on_the_line(stored, monkeypatch):
    figures = "[[novel, 1, 48.1], [all, 1, 59.2], [novel, 2, 59.2]]"
    published = {"REFERENCE": {"FIGURES": yaml.safe_load(figures), "SOURCE": "table 2", "STATUS": "paper"}}
    untrained = config(stored, PROTO | published)
    options = ("--lowshot", "test", "--shots", 1, 2, 3)
    assert "paper" not in stored.evaluator(untrained, "--untrained", *options)[1]
    cfg = config(stored, DYNAMIC | published)
    trained = ("-c", best(stored.train(cfg)))
    lines = [line for line in stored.evaluator(cfg, *trained, *options)[1].splitlines() if " n = " in line]
    assert [line.split(")  ")[-1] for line in lines[:2]] == ["paper: novel 48.1  all 59.2", "paper: novel 59.2"]
    assert "paper" not in lines[2]
    assert "paper" not in stored.evaluator(cfg, *trained, *options, "STAGE.meta.EPOCHS=2")[1]
    assert "paper" not in stored.evaluator(cfg, *trained, "--lowshot", "val", "--shots", 1)[1]
    monkeypatch.setattr(JointRegression.__init__, "__defaults__", (2, 60, 0.1, 0.9, 0.9, 1e-3))
    assert "paper" not in stored.evaluator(cfg, *trained, *options[:-2], "EVAL.TRIALS=2", "--classifier", "logistic")[1]


def test_logistic_regression_learns_base_and_novel_classes_together(stored, monkeypatch):
    monkeypatch.setattr(JointRegression, "steps", 150)
    monkeypatch.setattr(JointRegression.__init__, "__defaults__", (150, 60, 0.1, 0.9, 0.9, 1e-3))
    cfg = config(stored, PROTO)
    options = ("--untrained", "--lowshot", "test", "--shots", 5, "--classifier")
    code, out, err = stored.evaluator(cfg, *options, "logistic", "EVAL.TRIALS=2")
    assert (code, err) == (0, "")
    assert "LogisticRegression on features of ProtoNet  ImageNet-LowShot group test  n = 5" in out
    assert float(out.split("top-1 all ")[1].split()[0]) > 40  # six classes
    assert stored.evaluator(cfg, *options, "logistic", "EVAL.TRIALS=2")[1] == out
    assert stored.evaluator(cfg, *options, "ridge")[2].startswith(
        "error: --classifier is 'ridge' on ProtoNet; it is logistic"
    )


def test_logistic_regression_scores_the_groups_classes_alone():
    base = torch.eye(4).repeat(5, 1)[:, :4]
    head = JointRegression(base, torch.arange(4).repeat(5), torch.tensor([1, 3, 4, 6]), 8, steps=300, batch=20)
    support = {"vector": -torch.eye(4)[None, :2]}
    task = Task(
        support,
        torch.arange(2)[None],
        {"vector": torch.cat([-torch.eye(4)[:2], torch.eye(4)])[None]},
        torch.zeros(1, 6, dtype=torch.long),
        2,
        1,
        torch.arange(2)[None],
        torch.tensor([5]),
        1.0,
    )
    novel, base_logits = head(task)
    assert (novel.shape, base_logits.shape) == ((1, 6, 2), (1, 6, 8))
    assert torch.isinf(base_logits[..., [0, 2, 5, 7]]).all()
    joint = torch.cat([base_logits, novel], -1)[0]
    assert joint.argmax(1).tolist() == [8, 9, 1, 3, 4, 6]


@pytest.mark.parametrize("count", [1, 4, 8])
def test_every_set_of_distinct_numbers_is_equally_likely(count):
    generator = torch.Generator().manual_seed(0)
    sets = Counter(tuple(sorted(distinct(count, 9, generator).tolist())) for _ in range(3000))
    assert all(len(set(numbers)) == count for numbers in sets)
    never = math.comb(9, count) - len(sets)
    assert chisquare([*sets.values(), *[0] * never]).pvalue > 1e-3


def test_features_are_encoded_once_for_all_shots(stored, monkeypatch):
    monkeypatch.setattr(JointRegression.__init__, "__defaults__", (2, 60, 0.1, 0.9, 0.9, 1e-3))
    encoded = []

    def counted(encoder, ids):
        encoded.append(len(ids))
        return encode_all(encoder, ids)

    monkeypatch.setattr("core.protocols.lowshot.encode_all", counted)
    options = ("--untrained", "--lowshot", "test", "--classifier", "logistic", "EVAL.TRIALS=2", "--shots")
    stored.evaluator(config(stored, PROTO), *options, 1)
    once = len(encoded)
    stored.evaluator(config(stored, PROTO), *options, 1, 2, 3)
    assert len(encoded) == 2 * once + 2 * 2  # the shots of two more settings, with two trials each
