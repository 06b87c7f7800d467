"""The files of an evaluation, read back with the csv module, and the line that sums it up."""

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.files import write_files
from core.report.result import at_chance, episodes_name, folder_name, quoted, result_files, result_line
from core.report.tally import Evaluation

NAMES = ["apple", 'a "b"', "c, d", "e\nf", "ü\rv", ""]
RESULT = {
    "method": "ProtoNet",
    "dataset": "CIFAR-FS",
    "trained_on": "CIFAR-FS",
    "split": "test",
    "way": 2,
    "shot": 1,
    "query": 15,
    "queries": 30,
    "seed": 0,
    "episodes": 3,
    "mean": 55.456,
    "ci95": 0.204,
    "transductive": False,
    "reference": None,
}


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


@pytest.fixture
def written(tmp_path):
    folder = tmp_path / "eval" / "here"
    correct, classes = np.array([30, 17, 0]), np.array([[0, 2], [4, 0], [5, 1]])
    confusion = np.zeros((6, 6), dtype=np.int64)
    confusion[0, :2] = 12, 3
    confusion[1, 1] = 7
    confusion[2, 0] = 5
    evaluation = Evaluation(correct, np.array([30, 20, 9]), classes, 30, confusion, np.zeros((3, 1)), {})
    write_files(folder, result_files(RESULT, evaluation, NAMES))
    return folder, confusion


def test_episodes(written):
    assert read(written[0] / "episodes.csv") == [
        ["index", "correct", "queries", "classes", "top2"],
        ["0", "30", "30", "0 2", "30"],
        ["1", "17", "30", "4 0", "20"],
        ["2", "0", "30", "5 1", "9"],
    ]


def test_per_class(written):
    header, *rows = read(written[0] / "per_class.csv")
    assert header == ["class", "name", "correct", "queries", "accuracy"]
    assert [row[0] for row in rows] == list("012345")
    assert [row[1] for row in rows] == NAMES
    assert [row[2:] for row in rows[:3]] == [["12", "15", "80.00"], ["7", "7", "100.00"], ["0", "5", "0.00"]]
    assert all(row[2:4] == ["0", "0"] and math.isnan(float(row[4])) for row in rows[3:])


def test_confusion(written):
    folder, confusion = written
    header, *rows = read(folder / "confusion.csv")
    assert header == ["true", *NAMES]
    assert [row[0] for row in rows] == NAMES
    assert np.array_equal(np.array([row[1:] for row in rows], dtype=int), confusion)


def test_result_and_no_other_file(written):
    folder = written[0]
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert RESULT.items() <= record.items()
    assert record["hardest"][0] == {"episode": 2, "accuracy": 0.0, "classes": ["", 'a "b"']}
    assert record["easiest"][0] == {"episode": 0, "accuracy": 100.0, "classes": ["apple", "c, d"]}
    assert (record["worst_tenth"], record["percentile_5"]) == pytest.approx((0, 100 * 1.7 / 30))
    names = {"episodes.csv", "per_class.csv", "confusion.csv", "result.json"}
    assert {entry.name for entry in folder.iterdir()} == names


def is_plain(name):
    """Whether a name needs no change to be harmless in a spreadsheet and on a terminal."""
    return name.replace("\r", "").replace("\n", "").isprintable() and not name.startswith(("=", "+", "-", "@"))


@given(st.lists(st.text(st.characters(codec="utf-8")).filter(is_plain), min_size=1, max_size=4))
def test_quoted_fields_survive(names):
    line = ",".join(["first", *map(quoted, names)]) + "\n"
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [["first", *names]]


def test_plain_names_are_not_quoted():
    assert [quoted(name) for name in ("apple", "c, d", 'a "b"')] == ["apple", '"c, d"', '"a ""b"""']


def test_line():
    assert result_line(RESULT) == (
        "ProtoNet  CIFAR-FS test  2-way 1-shot  55.46 ± 0.20 %  (3 episodes, 95 % t-interval, seed 0, inductive)"
    )


@pytest.mark.parametrize(
    ("reference", "end"),
    [
        ({"accuracy": 55.5, "ci": 0.7, "status": "published"}, "  published: 55.5 ± 0.7"),
        ({"accuracy": 72.0, "ci": None, "status": "other protocol"}, "  other protocol: 72"),
    ],
)
def test_line_with_the_published_number(reference, end):
    line = result_line(RESULT | {"transductive": True, "reference": reference})
    assert line.endswith(f"seed 0, transductive){end}")


@pytest.mark.parametrize(("trained_on", "other"), [("CIFAR-FS", ""), ("Glyphs", "CIFAR-FS_")])
def test_folder_says_what_was_measured(trained_on, other):
    result = RESULT | {"trained_on": trained_on}
    assert folder_name("", result, episodes_name(result)) == f"{other}test_2w1s_q15_seed0_3"
    another = result | {"features_of": "NegMargin", "at_test": {"sfc_lr": 0.5}, "precision": "bfloat16"}
    assert folder_name("allway", another, "x") == f"allway_{other}x_ProtoNet_sfc_lr=0.5_bf16"


@pytest.mark.parametrize(("mean", "is_chance"), [(19.0, True), (20.9, True), (21.1, False), (60.0, False)])
def test_chance(mean, is_chance):
    assert at_chance({"mean": mean, "ci95": 1.0, "way": 5}) == is_chance


@pytest.mark.parametrize("result", [None, "text", {"mean": 1.0, "ci95": 0.1}, {"mean": {}, "ci95": 0.1, "way": 5}])
def test_other_answers_are_not_at_chance(result):
    assert not at_chance(result)
