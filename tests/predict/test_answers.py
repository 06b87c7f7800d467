"""Rows, files and figures of answers, from made logits."""

import csv
import io
import json
from dataclasses import replace

import pytest

from core.predict.answers import NONE, Answer, Answers, answer, confusion, counted, is_right
from core.predict.classifier import make_classifier
from core.predict.trust import measure_trust
from tests.predict.photos import drawn, network, supports_of


@pytest.fixture(scope="module")
def made():
    encoder = network()
    classifier = make_classifier(encoder, supports_of(encoder, [3, 2, 4]))
    encoded = encoder.encode(drawn([0, 1, 2], [60, 61]), encoder.store(None))
    return classifier, measure_trust(classifier), encoded


def row(truth="apple", said="apple", rejected=False, file="a.png", **more):
    values = {"probability": 0.75, "runner_up": "bear", "runner_up_probability": 0.25, "margin": 0.5}
    values |= {"nearest_support": "x/1.png", "similarity": 0.9} | more
    return Answer(file, said, **values, rejected=rejected, truth=truth)


def test_rows_are_what_the_logits_say(made):
    classifier, trust, encoded = made
    rows = answer(classifier, trust, encoded, 0.0)
    probabilities = trust.probabilities(classifier.logits(encoded.features))
    by_name = {each.file: each for each in rows}
    for i, photo in enumerate(encoded.photos):
        order = probabilities[i].argsort(descending=True).tolist()
        said = by_name[photo.name]
        assert said.answer == classifier.supports.classes[order[0]]
        assert said.runner_up == classifier.supports.classes[order[1]]
        assert said.probability == pytest.approx(float(probabilities[i, order[0]]), abs=1e-6)
        assert said.margin == pytest.approx(said.probability - said.runner_up_probability, abs=2e-6)
        assert said.truth == photo.label
        assert not said.rejected
    assert [each.margin for each in rows] == sorted(each.margin for each in rows)


def test_the_nearest_support_is_nearest(made):
    classifier, trust, encoded = made
    supports = replace(encoded, features=classifier.supports.features, photos=drawn([0, 1, 2], range(3)))
    rows = answer(classifier, trust, supports, 0.0)
    assert [each.similarity for each in rows] == pytest.approx([1.0] * len(rows), abs=1e-5)
    assert sorted(each.nearest_support for each in rows) == sorted(classifier.supports.names)


def test_what_is_less_known_than_the_threshold_is_rejected(made):
    classifier, trust, encoded = made
    rows = answer(classifier, trust, encoded, 0.5)
    assert [each.rejected for each in rows] == [each.similarity < trust.threshold(0.5) for each in rows]


def test_a_rejected_photo_is_right_where_it_is_of_no_class():
    rows = [row(), row(rejected=True), row("car", "apple"), row("car", "apple", rejected=True)]
    assert [is_right(each, ["apple", "bear"]) for each in rows] == [True, False, False, True]
    answers = Answers(["apple", "bear"], [], rows, {})
    assert answers.accuracy() == (50.0, 2)
    assert confusion(rows, answers.classes) == [[1, 0], [0, 0]]


def test_files_say_the_same():
    rows = [row(), row("bear", "apple", rejected=True, file='b,"\n.png')]
    answers = Answers(["apple", "bear"], ["x/1.png"], rows, {"method": "ProtoNet"}, ["a note"], {"c.png": "is empty"})
    first, second = csv.DictReader(io.StringIO(answers.as_csv()))
    assert (first["file"], first["class"], first["probability"]) == ("a.png", "apple", "0.75")
    assert (second["file"], second["class"], second["if_not_rejected"]) == ('b,"\n.png', NONE, "apple")
    content = json.loads(json.dumps(answers.as_json()))
    assert content["answers"][0]["answer"] == "apple"
    assert content["unreadable"] == {"c.png": "is empty"}
    assert answers.as_text().splitlines()[1].split() == ["a.png", "apple", "0.75", "bear", "0.50", "x/1.png"]
    assert answers.accuracy() == (50.0, 2)


def test_names_are_neither_formulas_nor_orders_to_a_terminal():
    formula = '=HYPERLINK("http:evil","x")'
    rows = [row(formula, formula, file="new\n\x1b[31m.png", runner_up="@x")]
    answers = Answers([formula, "@x"], ["x/1.png"], rows, {})
    (cells,) = csv.DictReader(io.StringIO(answers.as_csv()))
    assert [cells[name] for name in ("class", "truth", "if_not_rejected")] == [f"'{formula}"] * 3
    assert (cells["runner_up"], cells["file"], cells["margin"]) == ("'@x", "new\n?[31m.png", "0.5")
    assert "new\\n\\x1b[31m.png" in answers.as_text()


def test_accuracy_counts_photos_of_the_classes_alone():
    answers = Answers(["apple"], [], [row(), row("kiwi"), row("")], {})
    assert answers.accuracy() == (100.0, 1)
    assert confusion(answers.rows, ["apple"]) == [[1]]


def test_a_long_table_is_cut():
    rows = [row(file=f"{'x' * 60}{i}.png") for i in range(45)]
    lines = Answers(["apple"], [], rows, {}).as_text().splitlines()
    assert lines[-1] == "... and 5 more certain ones, see answers.csv"
    assert lines[1].startswith("...xxx")


def test_counted():
    assert [counted(1, "photo"), counted(2, "photo")] == ["1 photo", "2 photos"]
