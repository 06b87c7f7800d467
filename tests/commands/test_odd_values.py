"""Odd values, damaged run folders and odd outputs: each is one sentence, and nothing is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.pixels import Pixels
from core.data.store import read_split
from core.errors import UserError
from core.files import write_text
from core.prepare.feature_files import read_features
from core.report.result import quoted
from tests.conftest import write_tiny_split
from tests.workspace import EXPERIMENTS, best, result

MORE = {"epoch": 1, "best_accuracy": 20.0, "records": 1, "more": 1}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("BACKBONE.ARGS.width=-1", "BACKBONE.ARGS.width is -1; it must be at least 1."),
        ("BACKBONE.ARGS.width=1000000", "ProtoNet on Conv4 cannot be built ("),
        ("METHOD.ARGS.scale=.nan", "METHOD.ARGS.scale is nan; it must be above 0."),
        ("METHOD.ARGS.scale=.inf", "METHOD.ARGS.scale is inf; it must be a finite number."),
        ("STAGE.meta.TASKS=1000000000000", "STAGE.meta.TASKS is 1000000000000; it must be at most 100000000."),
        ("EVAL.EPISODES=1000000000000", "EVAL.EPISODES is 1000000000000; it must be at most 100000000."),
        ("DATASET.VIEWS=[1]", "DATASET.VIEWS is [1]; it must list texts."),
        ("STAGE.meta.AUGMENT=[null]", "STAGE.meta.AUGMENT is [None]; it must list texts."),
        ('DATASET.ROOT="a\\x1b[31mb"', "DATASET.ROOT is 'a\\x1b[31mb', which holds a character that cannot be printed"),
        ("DATASET.NAME=folder:~nosuchuser/x", "nosuchuser"),
    ],
)
def test_values_that_no_run_can_have(untrainable, space, override, says):
    assert says in untrainable(space.config(), override)


@pytest.mark.parametrize("damage", ["empty", "binary", "list", "deep"])
def test_a_damaged_config_of_a_run(space, refused, damage):
    cfg = space.config()
    run = space.train(cfg)
    text = {"empty": b"", "binary": b"\xff\x00\x01", "list": b"[1, 2]", "deep": b"[" * 5000}[damage]
    (run / "config.yaml").write_bytes(text)
    said = refused("run_trainer.py", "--cfg", cfg, "-c", space.base, "-d", "cpu", "--resume")
    assert str(run) in said


@pytest.mark.parametrize(
    "content", [{"progress": 1}, {"progress": {"epoch": "x"}}, {"optimizer": []}, {"progress": {}}, {"progress": MORE}]
)
def test_a_last_checkpoint_that_says_something_else(space, refused, content):
    cfg = space.config()
    run = space.train(cfg)
    torch.save(torch.load(run / "last.pth", weights_only=True) | content, run / "last.pth")
    said = refused("run_trainer.py", "--cfg", cfg, "-c", space.base, "-d", "cpu", "--resume")
    assert said.startswith(f"{run / 'last.pth'} is damaged")


def test_a_folder_in_place_of_the_last_checkpoint(space, refused):
    cfg = space.config()
    run = space.train(cfg)
    (run / "last.pth").unlink()
    (run / "last.pth").mkdir()
    said = refused("run_trainer.py", "--cfg", cfg, "-c", space.base, "-d", "cpu", "--resume")
    assert said.startswith(f"{run / 'last.pth'} is no file")


def test_curves_of_other_bytes_do_not_stop_a_resume(space):
    cfg = space.config()
    run = space.train(cfg)
    (run / "metrics.jsonl").write_bytes(b"\xff\x00\n" * 3)
    assert space.trainer(cfg, "-e", "0", "--resume")[0] == 0


@pytest.mark.parametrize(
    "entry", [{"method": 1}, {"final": "yes"}, {"method": {"NAME": 3, "ARGS": {}}}, {"backbone": {}}]
)
def test_an_odd_checkpoint_is_no_checkpoint(space, entry):
    cfg = space.config()
    run = space.train(cfg)
    content = torch.load(best(run), weights_only=True)
    torch.save(content | {"meta": content["meta"] | entry}, best(run))
    code, out, err = space.evaluator(cfg, "-c", run)
    assert (code, "Traceback" in out + err) == (2, False)
    assert f"{best(run)} is not a checkpoint of FiveWay: its 'meta' entry" in err


def test_an_output_never_replaces_a_device_and_replaces_a_link_itself(tmp_path):
    with pytest.raises(UserError, match="/dev/null is no regular file, and is not replaced"):
        write_text(Path("/dev/null"), "x")
    kept = tmp_path / "kept"
    kept.write_text("kept")
    (tmp_path / "link").symlink_to(kept)
    write_text(tmp_path / "link", "new")
    assert (kept.read_text(), (tmp_path / "link").read_text()) == ("kept", "new")


@pytest.mark.parametrize(
    ("name", "cell"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("a\x1b[31m", "a?[31m"), ("plain", "plain")]
)
def test_cells_are_no_formulas_and_no_commands(name, cell):
    assert quoted(name) == cell


@settings(max_examples=50)
@given(st.text(max_size=8))
def test_no_name_begins_a_formula(name):
    assert quoted(name).lstrip('"')[:1] not in tuple("=+-@")
    assert "\x1b" not in quoted(name)


def test_a_store_that_is_cut_short_while_it_is_read(tmp_path):
    write_tiny_split(tmp_path, "train", 3, 5)
    pixels = Pixels(read_split(tmp_path / "Glyphs" / "16px" / "train"), torch.device("cpu"))
    pixels.raw(torch.arange(3))
    os.truncate(tmp_path / "Glyphs" / "16px" / "train" / "images.npy", 200)
    with pytest.raises(UserError, match="was cut short while it was read"):
        pixels.raw(torch.arange(3))


def hdf5(path, make):
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(4, np.int64)
        make(file)
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file: file.create_group("features"), "features is no array of this file"),
        (lambda file: file.__setitem__("features", h5py.ExternalLink("/etc/passwd", "/x")), "features is a link"),
        (lambda file: file.__setitem__("features", h5py.SoftLink("/features")), "features is a link"),
        (
            lambda file: file.create_dataset("features", (4, 2), "f4", external=[("/etc/passwd", 0, 32)]),
            "features is no array of this file",
        ),
    ],
)
def test_hdf5_that_leads_elsewhere_is_refused(tmp_path, make, says):
    with pytest.raises(UserError, match=says):
        read_features(hdf5(tmp_path / "x.hdf5", make), tmp_path / "scratch")


def test_a_closed_output_is_no_traceback(space):
    command = [
        sys.executable,
        str(EXPERIMENTS / "run_trainer.py"),
        "--cfg",
        str(space.config()),
        "--print-config",
        "full",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read().decode() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("kind", ["sparse", "endless"])
def test_tensors_without_content_are_no_weights(space, kind):
    cfg = space.config()
    file = best(space.train(cfg))
    content = torch.load(file, weights_only=True)
    weight = next(iter(content["method"]))
    odd = {"sparse": torch.ones(2, 3).to_sparse(), "endless": torch.zeros(1).expand(1 << 40)}
    torch.save(content | {"method": content["method"] | {weight: odd[kind]}}, file)
    code, _, said = space.evaluator(cfg, "-c", file)
    assert code == 2
    assert f"{file} is not a " in said  # checkpoint of FiveWay, or readable checkpoint


@pytest.mark.parametrize("entry", [{"way": []}, {"at_test": 3}, {"episodes": "many"}, {"method": None}])
def test_a_result_of_other_kinds_is_not_compared(space, entry):
    cfg = space.config()
    folder = space.evaluate(cfg, best(space.train(cfg)))
    write_text(folder / "result.json", json.dumps(result(folder) | entry))
    code, _, said = space.script("run_compare.py", folder.parents[2], folder)
    assert code == 2
    assert f"{folder / 'result.json'} is not a readable result ({next(iter(entry))} is of another kind)" in said


def test_a_name_that_is_not_utf8_is_a_sentence(space):
    cfg = space.config()
    folder = os.fsdecode(os.fsencode(space.path) + b"/\xff")
    code, _, said = space.script("run_trainer.py", "--cfg", cfg, "-c", folder, "-d", "cpu")
    assert code == 2
    assert said.endswith("/\\udcff' holds bytes that are not UTF-8; rename that file or folder.\n")
    assert not os.path.exists(folder)
