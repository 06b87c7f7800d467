"""report.html of a prediction: the answers of answers.json, with their photographs."""

import json
import re

import pytest

from core.predict.page import pixels
from core.predict.photos import Photo
from tests.predict.photos import write_classes


@pytest.fixture
def predict(space, trained, tmp_path):
    """Answer with the trained network; returns answers.json and the page."""
    write_classes(tmp_path / "labelled", {"cup": 3, "<b>bowl": 2, "fork": 4})
    write_classes(tmp_path / "new", {"cup": 3, "<b>bowl": 3, "other": 2}, first=50)

    def predict(*arguments, support=("--support", tmp_path / "labelled")):
        network = ["--cfg", trained[0], "--checkpoint", trained[1]] if support else []
        where = ["--query", tmp_path / "new", "--out", space.path / "answers", "--cache", "", "-d", "cpu"]
        code, _, err = space.script("run_predict.py", *network, *support, *where, *arguments)
        assert (code, err) == (0, "")
        folder = space.path / "answers"
        return json.loads((folder / "answers.json").read_text()), (folder / "report.html").read_text()

    return predict


def section(html, title):
    return html.split(f"<h2>{title}</h2>")[1].split("</section>")[0]


def test_every_answer_is_shown_the_least_certain_first(predict):
    answers, html = predict()
    sheet = section(html, "All answers")
    files = re.findall(r'class="note file" title="(.*?)"', sheet)
    assert [file.replace("&lt;", "<").replace("&gt;", ">") for file in files] == [a["file"] for a in answers["answers"]]
    assert sheet.count(".png</bdi>") == 8  # the end of a path is what is left of it
    assert sheet.count('alt="nearest: ') == 8
    assert sheet.count("✗") == sum(a["answer"] != a["truth"] for a in answers["answers"])
    assert f"{answers['accuracy']:.1f} %" in section(html, "Result")
    assert "held-out supports" in html
    assert section(html, "Label these next").count('class="seen"') == 6
    assert "<b>bowl" not in html


def test_the_expected_accuracy_is_a_curve_where_there_is_a_reference(predict):
    answers, html = predict()
    expected = [answers["expected_accuracy"], *answers["learning_curve"]]
    curve = section(html, "What more photos would give")
    for value in expected:
        assert f"expected: {value['percent']:.4g} at {value['shot']:g}" in curve
    assert "What more photos would give" not in predict("--reference", "")[1]


def test_what_was_rejected_stands_apart(predict):
    answers, html = predict("--reject", "0.5")
    rejected = [a for a in answers["answers"] if a["rejected"]]
    assert rejected
    apart = section(html, "None of these classes")
    assert apart.count('class="seen"') == apart.count("<b>none of these</b>") == len(rejected)
    for a in rejected:
        nearest = f"{a['answer']} ({100 * a['probability']:.0f} % among the classes)"
        assert f"nearest class: {nearest}".replace("<", "&lt;").replace(">", "&gt;") in apart
    assert 'class="track"' not in apart  # a bar would be of a class that was not answered
    assert ", then " not in apart
    assert "50 % of photos of the classes were to be" in html


def test_a_saved_classifier_has_a_page_without_pictures_of_its_supports(predict, space):
    predict()
    _, html = predict("--classifier", space.path / "answers" / "classifier", support=())
    assert 'alt="nearest: ' not in html
    assert section(html, "All answers").count('class="seen"') == 8


def test_a_file_that_has_gone_is_grey(tmp_path):
    assert (pixels(Photo("gone.png", tmp_path / "gone.png")) == 128).all()
