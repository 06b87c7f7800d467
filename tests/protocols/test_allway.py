"""--protocol allway: all test classes at once, from the command line, against a loop over queries."""

import csv
import json

import numpy as np
import pytest
import torch

from core.build.config import load_config
from core.build.data import Data
from core.build.evaluation import restore
from core.data.allway import AllWaySampler
from tests.workspace import best

KEYS = ("EVAL.TRIALS=4", "EVAL.ALLWAY_QUERIES=7")


def nearest_mean(data, network, shot, number):
    """Accuracy and macro accuracy of one trial, a query at a time in float64."""
    split = data.split("test")
    drawn = AllWaySampler(split, shot, 7, data.cfg.EVAL.SEED).draw(number)
    with torch.no_grad():
        images = data.pixels("test").gather(torch.arange(len(split.labels)))
        vectors = network.method.eval().encode({"image": images})["vector"].double().numpy()
    classes = drawn.classes[0].tolist()
    supports = drawn.support[0].view(len(classes), shot).tolist()
    hits = {c: [] for c in classes}
    for row in drawn.query[0].tolist():
        distances = [((vectors[row] - vectors[rows].mean(0)) ** 2).sum() for rows in supports]
        hits[split.labels[row]].append(classes[int(np.argmin(distances))] == split.labels[row])
    every = [hit for of_class in hits.values() for hit in of_class]
    return 100 * np.mean(every), 100 * np.mean([np.mean(of_class) for of_class in hits.values()])


def test_trials_are_what_a_loop_finds(space):
    cfg = space.config()
    run = space.train(cfg)
    code, out, err = space.evaluator(cfg, "-c", best(run), "--protocol", "allway", "--shots", 1, 3, *KEYS)
    assert (code, err) == (0, "")
    assert "ProtoNet  Glyphs test  all 6 classes, 1-shot  " in out
    assert "(4 draws, up to 7 queries a class, seed 0, inductive)" in out
    data = Data(load_config(cfg, KEYS).cfg, torch.device("cpu"))
    network = restore(data, best(run))
    for shot in (1, 3):
        folder = run / "eval" / best(run).stem / f"allway_test_{shot}s_q7_seed0_4"
        rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
        for number, row in enumerate(rows):
            expected = nearest_mean(data, network, shot, number)
            assert (float(row["accuracy"]), float(row["macro"])) == pytest.approx(expected, abs=1e-3)
        result = json.loads((folder / "allway.json").read_text())
        mean = np.mean([float(row["accuracy"]) for row in rows])
        assert result["figures"]["accuracy"]["mean"] == pytest.approx(mean, abs=1e-3)
        assert (result["way"], result["trials"], result["checkpoint"]) == (6, 4, best(run).name)


def test_another_head_and_little_memory_change_nothing_else(space):
    cfg = space.config()
    run = space.train(cfg)
    options = ("--protocol", "allway", "--shots", 2, "--methods", "own,CosineProtoNet", *KEYS)
    tables = []
    for memory in (1000, 1):
        code, _, err = space.evaluator(cfg, "-c", best(run), *options, f"EVAL.MEMORY_MB={memory}")
        assert (code, err) == (0, "")
        folders = sorted((run / "eval" / best(run).stem).glob("allway_*"))
        assert [folder.name for folder in folders] == [
            "allway_test_2s_q7_seed0_4",
            "allway_test_2s_q7_seed0_4_CosineProtoNet",
        ]
        tables.append([(folder / "trials.csv").read_text() for folder in folders])
    assert tables[0] == tables[1]
    assert tables[0][0] != tables[0][1]


def test_what_cannot_be_answered_is_said(space, refused):
    cfg = space.config()
    command = ("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "--untrained", "--protocol")
    assert refused(*command, "allway", "--shots", 20).startswith(
        "--protocol allway: a trial takes 20 images of each class"
    )
    assert refused(*command, "allway", "--ways", 3).startswith(
        "--ways is [3], but the protocol allway does not take it"
    )
    assert "did you mean allway?" in refused(*command, "alway")
