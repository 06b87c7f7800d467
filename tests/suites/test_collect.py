"""What a suite measured is kept without checkpoints, in folders that run_compare.py reads."""

import gzip
import json

import pytest

from core.suites.progress import Record, progress
from core.suites.standings import standings
from core.suites.suite import read_suite
from tests.predict.encoders import NAME, write_weights
from tests.workspace import PROTONET


def test_finished_cells_are_kept_and_the_first_result_stands(suite, space, tmp_path):
    names = {name: str(space.path / f"{name}.yaml") for name in ("Two", "Scaled", "Proto")}
    wild = {"CFG": names["Proto"], "TAG": "wild", "OVERRIDES": ["STAGE.meta.OPTIM.LR=1e30"]}
    file, kept = suite(RUNS=[names["Two"], names["Scaled"], wild], TESTS=[{}]), tmp_path / "results"
    assert space.script("run_suite.py", file, "--devices", "cpu", "--jobs", "2")[0] == 2
    code, out, err = space.script("run_suite.py", file, "--collect", kept)
    assert (code, err, out.count("collected  Glyphs_")) == (0, "", 3)
    assert not [*kept.rglob("*.pth"), *kept.rglob("*.log")]

    folder = kept / "suite" / "Glyphs_Two"
    assert {path.name for path in folder.iterdir()} == {"cell.json", "config.yaml", "env.json", "metrics.jsonl", "eval"}
    source = next(path for path in space.base.glob("Glyphs_Two/eval/*/*"))
    target = folder / "eval" / source.parent.name / source.name
    assert gzip.decompress((target / "episodes.csv.gz").read_bytes()) == (source / "episodes.csv").read_bytes()
    assert str(tmp_path) not in (target / "result.json").read_text() + (folder / "env.json").read_text()
    about = json.loads((folder / "cell.json").read_text())
    assert (about["state"], about["cfg"], len(about["shared"])) == ("done", "Glyphs/Two.yaml", 1)
    failed = json.loads((kept / "suite" / "Glyphs_Proto_wild" / "cell.json").read_text())
    assert failed["state"] == "failed"
    assert "the loss became" in failed["reason"]

    runs = [cell.run.path for cell in read_suite(file)][:2]
    collected = [kept / "suite" / run.name for run in runs]
    assert space.script("run_compare.py", *collected) == space.script("run_compare.py", *runs)

    (source / "result.json").write_text("{}")
    assert "collected" not in space.script("run_suite.py", file, "--collect", kept)[1]
    assert json.loads((target / "result.json").read_text())["mean"] > 0


def test_a_test_that_was_added_is_collected_later(suite, space, tmp_path):
    run, kept = str(space.path / "Proto.yaml"), tmp_path / "results"
    space.script("run_suite.py", suite(RUNS=[run], TESTS=[{}]), "--devices", "cpu")
    file = suite(RUNS=[run], TESTS=[{}])
    assert "collected  Glyphs_Proto" in space.script("run_suite.py", file, "--collect", kept)[1]
    file = suite(RUNS=[run], TESTS=[{}, {"OPTIONS": ["--shots", 2]}])
    space.script("run_suite.py", file, "--devices", "cpu")
    first = sorted(kept.glob("suite/*/eval/*/*"))
    contents = [(folder / "result.json").read_bytes() for folder in first]
    assert "collected  Glyphs_Proto" in space.script("run_suite.py", file, "--collect", kept)[1]
    assert len([*kept.glob("suite/*/eval/*/*")]) == len(first) + 1
    assert [(folder / "result.json").read_bytes() for folder in first] == contents
    assert "collected" not in space.script("run_suite.py", file, "--collect", kept)[1]


@pytest.mark.parametrize("damage", ["gone", "half", "half a list", "no list"])
def test_a_damaged_result_is_measured_again_and_not_collected(suite, space, tmp_path, damage):
    file, kept = suite(RUNS=[str(space.path / "Proto.yaml")], TESTS=[{}]), tmp_path / "results"
    assert space.script("run_suite.py", file, "--devices", "cpu")[0] == 0
    (folder,) = space.base.glob("Glyphs_Proto/eval/*/*")
    place = folder / ("episodes.csv" if "list" in damage else "result.json")
    content = place.read_bytes()
    place.unlink() if damage in ("gone", "no list") else place.write_bytes(content[: len(content) // 2])
    assert [progress(cell).state for cell in read_suite(file)] == ["incomplete"]
    assert "collected" not in space.script("run_suite.py", file, "--collect", kept)[1]
    assert space.script("run_suite.py", file, "--devices", "cpu")[0] == 0
    assert [progress(cell).state for cell in read_suite(file)] == ["done"]
    assert place.read_bytes().count(b"\n") == content.count(b"\n")


def test_without_the_description_of_the_machine_a_run_is_not_collected(suite, space, tmp_path, refused):
    file = suite(RUNS=[str(space.path / "Proto.yaml")], TESTS=[{}])
    assert space.script("run_suite.py", file, "--devices", "cpu")[0] == 0
    (space.base / "Glyphs_Proto" / "env.json").unlink()
    assert "env.json cannot be read" in refused("run_suite.py", file, "--collect", tmp_path / "results")


@pytest.mark.slow
def test_an_encoder_that_is_not_trained_is_kept_too(suite, space, tmp_path):
    encoder = {"NAME": NAME, "WEIGHTS": str(write_weights(tmp_path)), "ARGS": {"size": 48}}
    space.config(PROTONET | {"STAGES": [], "STAGE": {}, "BACKBONE": encoder, "EVAL": {"EPISODES": 20}}, "Frozen.yaml")
    file, kept = suite(RUNS=[str(space.path / "Frozen.yaml")], TESTS=[{}]), tmp_path / "results"
    assert space.script("run_suite.py", file, "--devices", "cpu")[0] == 0
    record = Record(read_suite(file)[0])
    record.note(results=record.read()["results"] | {"--shots 9": ["gone"]})  # of a test that the suite no longer lists
    assert "collected  Glyphs_Frozen" in space.script("run_suite.py", file, "--collect", kept)[1]
    ((row,), failed) = standings(kept / "suite")
    assert (row.minutes, failed) == (0, [])
