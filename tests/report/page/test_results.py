import numpy as np
import pytest

from core.report.page.render import page
from core.report.page.results import result_sections, verdict
from core.report.tally import Evaluation

RESULT = {
    "method": "ProtoNet",
    "dataset": "CIFAR-FS",
    "split": "test",
    "way": 2,
    "shot": 1,
    "query": 5,
    "queries": 10,
    "seed": 0,
    "episodes": 3,
    "mean": 60.0,
    "ci95": 3.0,
    "transductive": False,
    "reference": None,
    "top2": 90.0,
    "ece": 5.0,
    "worst_tenth": 40.0,
    "percentile_5": 42.0,
    "intervals": {
        "episodes": {"mean": 60.0, "ci95": 3.0},
        "disjoint": None,
        "classes": {"mean": 61.0, "ci95": 6.0, "low": 54.0, "high": 66.0},
    },
}
PUBLISHED = {"accuracy": 64.0, "ci": 4.0, "source": "a table", "status": "paper"}


def shown(result=RESULT, classes=2):
    confusion = np.diag(np.arange(1, classes + 1)) + 1
    evaluation = Evaluation(np.array([5, 6, 7]), np.zeros(3), np.zeros((3, 2)), 10, confusion, np.zeros((3, 1)), {})
    return page("Result", result_sections(result, evaluation, [f"class{c}" for c in range(classes)]))


def test_the_result_is_said_in_numbers_and_words():
    html = shown()
    assert "60.00 ± 3.00 %" in html
    assert "asked 3 times to tell 2 classes apart" in html
    assert "guessing gives 50.0 %" in html
    assert "other classes like these" in html
    assert "other images of the same classes" not in html
    assert "No published number" in html
    assert "no better than guessing" not in html


def test_what_must_be_known_is_a_warning():
    html = shown(RESULT | {"mean": 51.0, "deviation": "images are missing"})
    assert "These answers are no better than guessing." in html
    assert "deviates from the published benchmark: images are missing" in html


@pytest.mark.parametrize(
    ("mean", "ci", "said"),
    [
        (60.0, 4.0, "differs by -4.00 points, which the intervals of both cover"),  # 5 = sqrt(3^2 + 4^2)
        (68.9, 4.0, "differs by +4.90 points, which the intervals of both cover"),
        (58.0, 4.0, "lies 6.00 points below, more than the intervals of both cover (5.00 points)"),
        (69.5, 4.0, "lies 5.50 points above, more than"),
        (60.0, 0.0, "lies 4.00 points below, more than the intervals of both cover (3.00 points)"),
    ],
)
def test_verdict(mean, ci, said):
    assert said in verdict(RESULT | {"mean": mean, "reference": PUBLISHED | {"ci": ci}})


def test_of_many_classes_the_extremes_are_shown():
    assert "class20" in shown(classes=40)
    html = shown(classes=60)
    assert "The 20 hardest and the 20 easiest of 60 classes." in html
    assert "class5<" in html
    assert "class30<" not in html
    assert "class55<" in html
