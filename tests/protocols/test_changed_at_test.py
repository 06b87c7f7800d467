"""Arguments that a trained method may be tested with, other than it was trained with."""

import json

import pytest

from tests.analysis.test_pictures import EMD
from tests.workspace import best


@pytest.fixture
def run(space):
    cfg = space.config(EMD | {"TASK": EMD["TASK"] | {"TEST": EMD["TASK"]["TEST"] | {"SHOT": 2}, "TRAIN": {"SHOT": 1}}})
    return cfg, best(space.train(cfg, "STAGE.meta.EPOCHS=1", "METHOD.ARGS.sfc_update_step=2"))


def results(checkpoint):
    return sorted(checkpoint.parent.glob("eval/*/*/result.json"))


def test_each_value_has_a_result_of_its_own(space, run):
    cfg, checkpoint = run
    for overrides in (("METHOD.ARGS.sfc_update_step=2",), ("METHOD.ARGS.sfc_update_step=2", "METHOD.ARGS.sfc_lr=100")):
        code, out, err = space.evaluator(cfg, "-c", checkpoint, *overrides)
        assert (code, err) == (0, "")
    assert "DeepEMD, sfc_lr 100.0 at test  Glyphs" in out
    plain, other = results(checkpoint)
    assert other.parent.name == f"{plain.parent.name}_sfc_lr=100.0"
    assert json.loads(plain.read_text())["at_test"] == {}
    assert json.loads(other.read_text())["at_test"] == {"sfc_lr": 100.0}
    code, out, err = space.script("run_compare.py", other.parent, checkpoint.parent)
    assert (code, err) == (0, "")
    assert f"{checkpoint.parent.name}, sfc_lr 100.0" in out


def test_what_was_learned_with_stays(refused, run):
    cfg, checkpoint = run
    overrides = ("METHOD.ARGS.sfc_update_step=2", "METHOD.ARGS.temperature=5")
    sentence = refused("run_evaluator.py", "--cfg", cfg, "-d", "cpu", "-c", checkpoint, *overrides)
    assert "was trained with METHOD" in sentence
