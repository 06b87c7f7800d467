import re

import numpy as np
import pytest

from core.report.page.episodes import (
    MATRIX,
    Confusions,
    ShownClass,
    ShownEpisode,
    confused_classes,
    confusion_section,
    episodes_section,
    features_section,
    principal_components,
)
from core.report.page.render import page

IMAGE = np.zeros((8, 8, 3), np.uint8)


def test_wrong_answers_come_first_and_are_named():
    shown = ShownClass("fox", [IMAGE] * 9, [IMAGE] * 12, ["fox"] * 9 + ["cat", "<b>", "fox"])
    section = episodes_section("Hardest", [ShownEpisode(7, 83.333, [shown])], "A note.")
    html = page("Episodes", [section])
    assert "Episode 7: 83.3 %" in html
    assert "(10 of 12 right, 8 shown)" in html
    answers = [part.split('"')[0] for part in html.split('alt="')[1:]]
    assert answers == ["support of fox"] * 5 + ["fox: taken for cat", "fox: taken for &lt;b&gt;"] + ["fox: right"] * 6
    assert html.count("✗") == 2


def counts(classes, seed=0):
    return np.random.default_rng(seed).integers(0, 50, (classes, classes))


def test_every_cell_of_a_small_matrix_is_shown():
    images = {(0, 1): IMAGE, (2, 2): IMAGE}
    section = confusion_section(Confusions(["a", "b", "c"], np.array([[3, 1, 0], [0, 4, 0], [0, 0, 4]]), images))
    html = page("Matrix", [section])
    assert "a taken for b: 1 of 4 (25.0 %)" in html
    assert html.count('<div class="cell') == 9
    assert html.count("<img") == 2
    assert re.findall(r"--share:(\d+)%", html) == ["75", "100", "0", "0", "100", "0", "0", "0", "100"]


def test_answers_that_are_no_class_have_a_column():
    table = np.array([[3, 1, 4], [0, 4, 0]])
    html = page("Matrix", [confusion_section(Confusions(["a", "b"], table, {(0, 2): IMAGE}, ["none of these"]))])
    assert re.findall(r'<th title="(.*?)"', html) == ["a", "b", "none of these", "a", "b"]
    assert "a none of these: 4 of 8 (50.0 %)" in html
    assert re.findall(r"--share:(\d+)%", html) == ["38", "25", "100", "0", "100", "0"]


def test_of_many_classes_the_most_confused_are_shown():
    large = counts(60)
    large[57, 3] = 999
    chosen = confused_classes(large)
    assert chosen[:2] == [3, 57]
    assert len(set(chosen)) == MATRIX
    assert confused_classes(counts(MATRIX)) == list(range(MATRIX))
    html = page("Matrix", [confusion_section(Confusions([f"class{c}" for c in range(60)], large, {}))])
    assert "the 20 classes of 60 that are confused most" in html


def test_a_class_without_queries_has_empty_cells():
    html = page("Matrix", [confusion_section(Confusions(["a", "b"], np.zeros((2, 2), int), {}))])
    assert "a taken for b: 0 of 1 (0.0 %)" in html


def test_principal_components_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)) * [9, 5, 2, 1, 1, 1] + 3
    places, shares = principal_components(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.cov(unit.T))
    assert shares == pytest.approx(values[::-1][:2] / values.sum())
    centred = unit - unit.mean(0)
    for component in range(2):
        direction = vectors[:, -1 - component]
        expected = centred @ (direction * np.sign(direction[np.abs(direction).argmax()]))
        assert places[:, component] == pytest.approx(expected)


def test_the_map_has_a_dot_for_each_image_and_a_picture_for_each_class():
    labels = np.repeat(np.arange(3), 5)
    features = np.random.default_rng(0).normal(size=(15, 4)) + np.eye(3, 4)[labels] * 9
    html = page("Map", [features_section(features, labels, ["a", "b", "<c>"], [IMAGE] * 3)])
    assert html.count("<circle") == 15
    assert html.count("<image") == 3
    assert "<title>&lt;c&gt;</title>" in html


def test_features_of_one_number_or_one_image_lie_on_a_line():
    for x in (np.array([[1.0], [-1.0], [1.0]]), np.ones((1, 4))):
        places, shares = principal_components(x)
        assert places.shape == (len(x), 2)
        assert not places[:, 1].any()
        assert shares[1] == 0
