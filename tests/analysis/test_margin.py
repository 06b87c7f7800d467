"""The margin study through its command line, on a few kilobytes of images."""

from __future__ import annotations

import csv

import pytest
import torch
from PIL import Image

from core.build.config import load_config
from core.build.data import Data
from core.build.networks import build_method
from core.engine.stage_run import StageRun
from core.episode import Batch
from tests.workspace import PROTONET, TWO_STAGES, best, files, result

BASE = {key: TWO_STAGES["STAGE"]["base"][key] for key in ("STREAM", "EPOCHS", "STEPS", "OPTIM", "VAL")}
TREE = PROTONET | {
    "METHOD": {"NAME": "NegMargin", "ARGS": {"head_passes": 3}},
    "OBJECTIVE": {"NAME": "negmargin"},
    "STAGES": ["base"],
    "STAGE": {"base": BASE},
}


@pytest.fixture
def study(space):
    def study(*arguments, tree=TREE):
        cfg = space.config(tree, "Neg.yaml")
        return space.script("run_analysis.py", "margin", "--cfg", cfg, "-c", space.base, "-d", "cpu", *arguments)

    return study


def rows(folder):
    with (folder / "margin.csv").open() as file:
        return list(csv.DictReader(file))


def classified(run):
    """Percent of train images that a run's own classifier puts right."""
    builder = Data(load_config(run / "config.yaml").cfg, torch.device("cpu"))
    method, labels = build_method(builder).eval(), torch.from_numpy(builder.split("train").labels)
    method.load_state_dict(torch.load(best(run), weights_only=True)["method"])
    with torch.no_grad():
        features = method.encode({"image": builder.pixels("train").gather(torch.arange(len(labels)))})
        return 100 * float((method.batch_logits(Batch(features, labels)).argmax(1) == labels).double().mean())


def test_trains_measures_and_draws(study, space):
    code, out, err = study("--margins", "0", "-0.3", "EVAL.EPISODES=30", "STAGE.base.EPOCHS=6")
    assert (code, err) == (0, "")
    folder = space.base / "Glyphs_Neg_margins"
    table = rows(folder)
    assert [row["margin"] for row in table] == ["0.0", "-0.3"]
    assert [float(row["delta"]) for row in table] == [0.0, 3.0]
    for row in table:
        run = space.base / f"Glyphs_Neg_m{float(row['margin']):g}"
        assert row["checkpoint"] == str(best(run))
        (evaluated,) = run.glob("eval/*/*")
        assert float(row["novel_accuracy"]) == pytest.approx(result(evaluated)["mean"])
        assert float(row["novel_ci95"]) == pytest.approx(result(evaluated)["ci95"])
        for part in ("base", "novel"):
            assert 25 < float(row[f"{part}_accuracy"]) <= 100
            ratio = float(row[f"{part}_between"]) / float(row[f"{part}_within"])
            assert float(row[f"{part}_ratio"]) == pytest.approx(ratio)
        assert float(row["base_classifier"]) == pytest.approx(classified(run))
    with Image.open(folder / "margin.png") as image:
        assert min(image.size) > 500
    assert f"table  {folder / 'margin.csv'}" in out


def test_finished_runs_are_taken_and_unfinished_ones_resumed(study, space, monkeypatch):
    study("--margins", "0", "EVAL.EPISODES=30")
    trained = []
    real = StageRun._epoch
    monkeypatch.setattr(
        StageRun, "_epoch", lambda self, *rest: (trained.append(self._run.path.name), real(self, *rest))
    )
    code, _, err = study("--margins", "0", "0.1", "EVAL.EPISODES=30")
    assert (code, err) == (0, "")
    assert trained == ["Glyphs_Neg_m0.1"] * BASE["EPOCHS"]
    assert len(rows(space.base / "Glyphs_Neg_margins")) == 2


def test_checkpoints_give_the_same_table(study, space, tmp_path):
    study("--margins", "-0.3", "0", "EVAL.EPISODES=30")
    expected = rows(space.base / "Glyphs_Neg_margins")
    runs = [best(space.base / f"Glyphs_Neg_m{m}") for m in ("-0.3", "0")]
    before = files(runs[0].parent)
    code, _, err = study(
        "--margins", "-0.3", "0", "--checkpoints", *runs, "EVAL.EPISODES=30", "--out", tmp_path / "taken"
    )
    assert (code, err) == (0, "")
    assert rows(tmp_path / "taken") == expected
    assert files(runs[0].parent) == before


def test_base_classes_are_measured_on_images_held_out_of_training(study, space):
    overrides = ("EVAL.EPISODES=30", "DATASET.BASE_HOLDOUT=8")
    code, _, err = study("--margins", "0", *overrides)
    assert (code, err) == (0, "")
    held_out = rows(space.base / "Glyphs_Neg_margins")[0]
    run = best(space.base / "Glyphs_Neg_m0")
    weights = torch.load(run, weights_only=True)
    (space.path / "alone").mkdir()
    torch.save(weights, space.path / "alone" / "best.pth")
    code, _, err = study("--margins", "0", "--checkpoints", space.path / "alone" / "best.pth", "EVAL.EPISODES=30")
    assert (code, err) == (0, "")
    everything = rows(space.base / "Glyphs_Neg_margins")[0]
    assert held_out["novel_accuracy"] == everything["novel_accuracy"]
    assert held_out["base_ratio"] != everything["base_ratio"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--margins", "0", "OBJECTIVE.NAME=ce"],
            "OBJECTIVE.NAME is ce, which has no margin; choose one of: arcface",
        ),
        (["--margins", "0", "zero"], "--margins lists 'zero', which is not a number; write --margins -0.1 0, for "),
        (["--margins", "0", "0.0"], "--margins lists [0.0, 0.0]; give each margin once."),
        (["--margins", "0", "1", "--checkpoints", "a.pth"], "--checkpoints names 1 files for 2 margins; give one for "),
        (
            ["--margins", "0", "-99"],
            "OBJECTIVE.ARGS.margin is -99.0, which at scale 10 moves the target's",
        ),
        (
            ["--margins", "0", "STAGE.base.OBJECTIVE.NAME=ce"],
            "--margins changes OBJECTIVE.ARGS.margin, but every",
        ),
        (["--margins", "0", "--checkpoints", "none.pth"], "none.pth"),
    ],
)
def test_what_cannot_be_studied_is_one_sentence(refused, space, arguments, sentence):
    cfg = space.config(TREE, "Neg.yaml")
    said = refused("run_analysis.py", "margin", "--cfg", cfg, "-c", space.base, "-d", "cpu", *arguments)
    assert sentence in said


def test_a_checkpoint_of_another_margin_is_refused(study, space):
    study("--margins", "0", "EVAL.EPISODES=30")
    file = best(space.base / "Glyphs_Neg_m0")
    code, _, err = study("--margins", "0.1", "--checkpoints", file)
    assert code == 2
    assert err == f"error: {file} was trained with margin 0.0, but --margins has 0.1 in its place.\n"


def test_an_unknown_study(space):
    code, _, err = space.script("run_analysis.py", "margins")
    assert code == 2
    assert "invalid choice: 'margins'" in err
