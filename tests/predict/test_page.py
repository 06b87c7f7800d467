"""report.html of a prediction: the answers of answers.json, with their photographs."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from core.predict.answers import Answers
from core.predict.facts import measured
from core.predict.page import answers_page, pixels
from core.predict.photos import Photo
from core.predict.trust import Trust
from tests.predict.photos import drawn, write_classes, write_photo
from tests.predict.test_answers import row

WITHOUT_HELD_OUT = Trust(1.0, 0, 0.0, torch.zeros(0, dtype=torch.float64))


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
    assert "Label these next" not in html  # their folders say their classes
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
    assert "about 50 % are rejected, too" in apart


def page_of(rows, photos, trust=WITHOUT_HELD_OUT, copies=()):
    """The page of made answers to drawn photographs."""
    facts = {"method": "ProtoNet", "supports": {"apple": 2, "bear": 2}, "reject": 0.1}
    answers = Answers(["apple", "bear"], ["x/1.png"], rows, facts)
    facts |= measured(answers)
    queries = {each.file: photo for each, photo in zip(rows, photos, strict=False)}
    return answers_page(answers, trust, queries, {}, copies)


def test_what_was_rejected_is_counted_everywhere():
    photos = drawn([0, 1], range(3))
    rows = [row(file="0"), row("bear", "bear", file="1"), row("bear", rejected=True, file="2")]
    rows += [row("car", rejected=True, file=f"{number}") for number in (3, 4)]
    html = page_of(rows, photos)
    result = section(html, "Result")
    assert "2 photos were sorted into 2 classes by ProtoNet, 3 rejected." in result
    assert "Of the 3 whose folder is a class, 2 were named rightly; the other one was rejected." in result
    assert "<dt>Rejected</dt><dd>3 of 5 (2 of no class, 1 of a class)</dd>" in result
    assert "bear none of these: 1 of 2 (50.0 %)" in section(html, "What is taken for what")
    html = page_of([*rows, row("bear", file="5"), row("", rejected=True, file="6")], [*photos, photos[0]])
    assert "2 were named rightly, 1 rejected and 1 named wrongly." in html
    assert "4 of 7 (2 of no class, 1 of a class, 1 not known)" in html
    html = page_of([row("", file="0"), row("", rejected=True, file="1")], photos)
    assert "<dt>Rejected</dt><dd>1 of 2</dd>" in html
    assert "none of these:" not in page_of([row(file="0"), row("bear", file="1")], photos)


def test_photos_that_would_teach_something_are_to_be_labelled():
    rows = [
        row("", file="unsure", margin=0.1),
        row("", file="support", margin=0.1, similarity=1.0),
        row("", file="sure", margin=0.6),
        row("apple", file="labelled", margin=0.1),
        row("car", file="of no class", margin=0.1),
        row("", file="rejected", margin=0.1, rejected=True),
        row("", file="unlike", margin=0.1, similarity=0.1),
    ]
    photos = drawn([1], [0]) * len(rows)
    trust = replace(WITHOUT_HELD_OUT, similarities=torch.tensor([0.5, 0.9]))
    html = page_of(rows, photos, trust, copies=["support"])
    assert re.findall(r'class="note file" title="(.*?)"', section(html, "Label these next")) == ["unsure"]
    assert "Label these next" not in page_of(rows[1:], photos[1:], trust, copies=["support"])
    without_copies = section(page_of(rows, photos, trust), "Label these next")
    assert re.findall(r'class="note file" title="(.*?)"', without_copies) == ["unsure", "support"]


def test_a_support_among_the_queries_is_not_to_be_labelled(space, trained, tmp_path, monkeypatch):
    """Nor is a copy of one in another format, which a saved classifier knows by its look."""
    monkeypatch.setattr("core.predict.page.UNSURE", 2.0)  # every answer is unsure
    folder = write_classes(tmp_path / "labelled", {"cup": 3, "bowl": 2})
    (tmp_path / "new").mkdir()
    support = next(folder.glob("cup/*"))
    shutil.copy(support, tmp_path / "new" / f"same{support.suffix}")
    Image.open(support).convert("RGB").save(tmp_path / "new" / "copy.jpg", quality=95)
    write_photo(tmp_path / "new" / "other.png", 0, 60)
    where = ["--query", tmp_path / "new", "--cache", "", "-d", "cpu"]
    network = ["--cfg", trained[0], "--checkpoint", trained[1], "--support", folder]
    out = tmp_path / "answers"
    for source, to in ((network, out), (["--classifier", out / "classifier"], tmp_path / "again")):
        assert space.script("run_predict.py", *source, *where, "--out", to)[0] == 0
        names = re.findall(
            r'class="note file" title="(.*?)"', section((to / "report.html").read_text(), "Label these next")
        )
        assert [name.rpartition("/")[2] for name in names] == ["other.png"]


def test_a_saved_classifier_has_a_page_without_pictures_of_its_supports(predict, space):
    predict()
    _, html = predict("--classifier", space.path / "answers" / "classifier", support=())
    assert 'alt="nearest: ' not in html
    assert section(html, "All answers").count('class="seen"') == 8


def test_a_file_that_has_gone_is_grey(tmp_path):
    assert (pixels(Photo("gone.png", tmp_path / "gone.png")) == 128).all()
