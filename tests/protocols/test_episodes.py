"""Ordinary episodes: result files, intervals, the cache, features handed on, arguments changed at test."""

import csv
import json

import numpy as np
import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import restore
from core.errors import UserError
from core.protocols.episodes import Episodes
from core.ranks import Ranks
from tests.workspace import PROTONET, best, files, result


def test_a_network_that_adapts_has_no_features_to_save(space):
    tree = PROTONET | {"METHOD": {"NAME": "MAML"}, "BACKBONE": {"ARGS": {"width": 8, "norm": "batch"}}}
    cfg = space.config(tree, "Maml.yaml")
    run = space.train(cfg, "STAGE.meta.EPOCHS=1", "STAGE.meta.VAL.EPISODES=2")
    arguments = ["-c", best(run), "EVAL.EPISODES=2", "--save-features", space.path / "x.npz"]
    code, _, err = space.evaluator(cfg, *arguments)
    assert (code, "its network adapts to each task" in err) == (2, True)
    assert not (run / "eval").exists()
    code, _, err = space.evaluator(cfg, *arguments[:3], "EVAL.PRECISION=bf16")
    assert (code, "EVAL.PRECISION is bf16, but MAML adapts its network to each task" in err) == (2, True)
    code, _, err = space.evaluator(cfg, "-c", best(run), "--methods", "ProtoNet", "EVAL.EPISODES=2")
    assert (code, "needs the feature 'vector', but MAML encodes image" in err) == (2, True)


def test_features_are_handed_on(checkpoint, trained, space):
    target = space.path / "features.npz"
    assert space.evaluator(trained[0], "-c", checkpoint, "--save-features", target)[0] == 0
    with np.load(target, allow_pickle=False) as arrays:
        assert set(arrays) == {"vector", "image", "label", "class", "name"}
        assert arrays["vector"].shape == (len(arrays["image"]), 8)
        assert arrays["class"][arrays["label"]].tolist() == [f"test{i // 20}" for i in arrays["image"]]
        assert arrays["name"].tolist() == [f"{i % 20:02d}.png" for i in arrays["image"]]


def test_a_folder_for_features_without_splits_is_refused(checkpoint, trained, space):
    code, _, err = space.evaluator(trained[0], "-c", checkpoint, "--save-features", space.path / "folder")
    assert (code, "without --splits it names a file; end it in .npz" in err) == (2, True)
    assert not (space.path / "folder").exists()


def test_one_process_of_several_has_not_all_features(checkpoint, trained, space, monkeypatch):
    monkeypatch.setattr(Ranks, "alone", property(lambda self: False))
    data = Data(load_config(trained[0], [f"DATASET.ROOT={space.root}"]).cfg, torch.device("cpu"))
    with pytest.raises(UserError, match="--save-features writes what one process encodes, but torchrun started sev"):
        Episodes(data, restore(data, checkpoint), save_features="features.npz").refuse()


def test_cached_equals_live_and_encodes_nothing_again(checkpoint, trained, space, encoded, root):
    def episodes(*overrides):
        folder = space.evaluate(trained[0], checkpoint, root, *overrides)
        return (folder / "episodes.csv").read_bytes(), {k: v for k, v in result(folder).items() if k != "seconds"}

    live = episodes("EVAL.CACHE=false")
    first = encoded[0]
    assert not (space.path / "data" / "features").exists()
    assert episodes() == live
    assert encoded[0] == 2 * first
    assert episodes() == live
    assert encoded[0] == 2 * first
    assert len(list((space.path / "data" / "features").iterdir())) == 1
    assert episodes("EVAL.PRECISION=bf16") != live
    assert len(list((space.path / "data" / "features").iterdir())) == 2
    episodes("EVAL.CACHE_MB=0", "EVAL.BATCH=16")
    assert len(list((space.path / "data" / "features").iterdir())) == 2


def test_only_images_of_the_episodes_are_encoded(checkpoint, trained, space, encoded):
    space.evaluate(trained[0], checkpoint, "EVAL.EPISODES=2", "EVAL.CACHE=false", "EVAL.PARTITIONS=0")
    assert encoded[0] <= 2 * 3 * 6


def test_precision_is_recorded(checkpoint, trained, space):
    folder = space.evaluate(trained[0], checkpoint, "EVAL.PRECISION=bf16", "EVAL.CACHE=false")
    assert folder.name.endswith("_bf16")
    assert result(folder)["precision"] == "bfloat16"
    assert "bfloat16)" in space.evaluator(trained[0], "-c", checkpoint, "EVAL.PRECISION=bf16")[1]


def test_intervals_are_labelled(checkpoint, trained, space):
    folder = space.evaluate(trained[0], checkpoint)
    record = result(folder)
    intervals = record["intervals"]
    assert intervals["episodes"]["mean"] == record["mean"]
    assert intervals["episodes"]["ci95"] == record["ci95"]
    assert (intervals["disjoint"]["n"], intervals["disjoint"]["partitions"]) == (6, 1)
    assert intervals["classes"]["low"] < record["mean"] < intervals["classes"]["high"]
    assert all(interval["label"] for interval in intervals.values())
    assert len((folder / "disjoint.csv").read_text().splitlines()) == 1 + 6
    assert result(space.evaluate(trained[0], checkpoint, "EVAL.PARTITIONS=0"))["intervals"]["disjoint"] is None
    assert not (folder / "disjoint.csv").exists()
    assert result(space.evaluate(trained[0], checkpoint, "TASK.TEST.WAY=4"))["intervals"]["classes"] is None


def test_legacy_interval(checkpoint, trained, space):
    folder = space.evaluate(trained[0], checkpoint, "EVAL.CI=z_ddof0")
    with (folder / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    accuracy = np.array([100 * int(row["correct"]) / int(row["queries"]) for row in rows])
    assert result(folder)["ci95"] == pytest.approx(1.96 * accuracy.std() / 40**0.5)
    assert "95 % z-interval" in space.evaluator(trained[0], "-c", checkpoint, "EVAL.CI=z_ddof0")[1]


def test_second_guesses_count(checkpoint, trained, space):
    folder = space.evaluate(trained[0], checkpoint)
    record = result(folder)
    with (folder / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(int(row["correct"]) <= int(row["top2"]) <= 15 for row in rows)
    assert record["top2"] == pytest.approx(sum(int(row["top2"]) for row in rows) / 6)
    assert 0 <= record["ece"] <= 100
    hardest = min(rows, key=lambda row: int(row["correct"]))
    assert record["hardest"][0]["episode"] == int(hardest["index"])
    assert record["hardest"][0]["accuracy"] <= record["easiest"][0]["accuracy"]


def test_untrained_answers_too_and_writes_nothing(trained, space):
    before = files(trained[0].parent)
    code, out, _ = space.evaluator(trained[0], "--untrained", "--shots", "1", "2")
    assert (code, out.count("untrained  ProtoNet")) == (0, 2)
    assert files(trained[0].parent) == before


def test_two_runs_compare(trained, space):
    cfg = space.config()
    other = space.train(cfg, "SEED=5", "BACKBONE.ARGS.width=4", "STAGE.meta.EPOCHS=1")
    for run in (trained[1], other):
        assert space.evaluator(run / "config.yaml", "-c", *run.glob("*.pth"))[0] == 0
    code, out, err = space.script("run_compare.py", trained[1], other)
    assert (code, err) == (0, "")
    assert "Glyphs test 3-way 1-shot, 40 episodes, seed 0" in out
    table = space.script("run_compare.py", trained[1], other, "--format", "csv")[1]
    (row,) = csv.DictReader(table.splitlines())
    means = [result(*run.glob("eval/*/*"))["intervals"]["disjoint"]["mean"] for run in (other, trained[1])]
    assert float(row["disjoint_difference"]) == pytest.approx(means[0] - means[1])
    assert float(row["disjoint_ci95"]) > 0


def test_uneven_shots_and_a_total_of_queries(space, trained):
    cfg, run = trained
    folder = space.evaluate(cfg, run / "ebest_3way_1shot.pth", "TASK.TEST.SHOTS=[1, 3, 2]", "TASK.TEST.QUERIES=10")
    result = json.loads((folder / "result.json").read_text())
    assert (result["shot"], result["query"], result["queries"]) == ("1+3+2", "10all", 10)
    assert result["intervals"]["disjoint"] is None
    assert folder.name.startswith("test_3w1+3+2s_q10all_seed0_")
    rows = list(csv.DictReader((folder / "episodes.csv").read_text().splitlines()))
    assert {row["queries"] for row in rows} == {"10"}
    assert sum(int(row["correct"]) for row in rows) / len(rows) * 10 == pytest.approx(result["mean"])


def test_unbalanced_queries(space, trained):
    cfg, run = trained
    folder = space.evaluate(cfg, run / "ebest_3way_1shot.pth", "TASK.TEST.QUERY_ALPHA=2.0")
    result = json.loads((folder / "result.json").read_text())
    assert (result["query"], result["queries"]) == ("15dirichlet2", 15)
    assert result["intervals"]["disjoint"] is None
    assert folder.name.startswith("test_3w1s_q15dirichlet2_seed0_")


def test_every_class_of_the_split(space, trained):
    cfg, run = trained
    folder = space.evaluate(cfg, run / "ebest_3way_1shot.pth", "TASK.TEST.WAY=6")
    assert json.loads((folder / "result.json").read_text())["way"] == 6


def test_the_images_of_every_episode_can_be_listed(checkpoint, trained, space):
    plain = space.evaluate(trained[0], checkpoint)
    before = {name: (plain / name).read_bytes() for name in ("episodes.csv", "per_class.csv")}
    assert not (plain / "images.csv").exists()
    folder = space.evaluate(trained[0], checkpoint, "EVAL.IMAGES=true")
    assert folder == plain
    rows, listed = (list(csv.DictReader((folder / f).read_text().splitlines())) for f in ("episodes.csv", "images.csv"))
    images = {row["image"]: row for row in listed}
    for row in rows:
        classes, support, query = (row[key].split() for key in ("classes", "support", "query"))
        assert [images[i]["class"] for i in support] == [f"test{c}" for c in classes]  # 1 shot
        assert sorted(images[i]["class"] for i in query) == sorted(f"test{c}" for c in classes * 5)
        assert not set(support) & set(query)
    kept = ("index", "correct", "queries", "classes", "top2")
    assert [",".join(row[key] for key in kept) for row in rows] == before["episodes.csv"].decode().splitlines()[1:]
    assert {i["name"] for i in images.values()} == {f"{n:02d}.png" for n in range(20)}
    space.evaluate(trained[0], checkpoint)
    assert not (folder / "images.csv").exists()
