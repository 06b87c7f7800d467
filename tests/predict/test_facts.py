"""What answers.json says beside the answers, from made rows."""

import pytest

from core.predict.answers import Answers
from core.predict.classifier import make_classifier
from core.predict.facts import auroc, describe, expected_of, heads_table, measured
from core.predict.trust import measure_trust
from tests.predict.photos import network, supports_of
from tests.predict.test_answers import row
from tests.predict.test_trust import calibration


@pytest.fixture(scope="module")
def classifier():
    encoder = network()
    return make_classifier(encoder, supports_of(encoder, [3, 3, 3]))


def test_the_classifier_is_described_with_what_to_expect(classifier):
    trust = measure_trust(classifier, calibration())
    facts = describe(classifier, trust, 0.1)
    assert facts["method"] == "ProtoNet"
    assert facts["temperature"] == pytest.approx(1 / trust.tau)
    assert facts["expected_accuracy"]["percent"] == trust.expected()[0].percent
    assert [each["shot"] for each in facts["learning_curve"]] == [5]
    assert facts["reference"] == {"of": "9 classes of tests", "episodes": 200, "way": 3, "shot": 3}
    assert facts["reject_below_similarity"] == trust.threshold(0.1)
    assert facts["supports_refused"] == trust.refused_supports(0.1)


def test_without_a_reference_the_reason_is_there(classifier):
    facts = describe(classifier, measure_trust(classifier, None, "there is none"), 0.0)
    assert facts["expected_accuracy"] is None
    assert facts["no_expected_accuracy_as"] == "there is none"
    assert "reject_below_similarity" not in facts


def test_folders_tell_accuracy_and_what_was_rejected():
    rows = [row(), row("bear", rejected=True), row("kiwi", rejected=True), row("kiwi")]
    facts = measured(Answers(["apple", "bear"], [], rows, {}))
    assert (facts["accuracy"], facts["answered_correctly_of"]) == (50.0, 2)
    assert facts["confusion"] == [[1, 0], [0, 0]]
    assert (facts["rejected_of_known"], facts["rejected_of_others"]) == (0.5, 0.5)
    assert (facts["photos_of_other_classes"], facts["auroc"]) == (2, 0.5)
    assert measured(Answers(["apple"], [], [row("")], {})) == {}


def test_heads_stand_in_a_table(classifier):
    known = expected_of(classifier, measure_trust(classifier, calibration()))
    unknown = expected_of(classifier, measure_trust(classifier))
    lines = heads_table([known, unknown | {"head": "Other"}]).splitlines()
    percent = known["expected_accuracy"]["percent"]
    assert lines[1].startswith(f"ProtoNet  {percent:.1f} % (")
    assert lines[2].split() == ["Other", "not", "known"]


def test_auroc_counts_pairs():
    assert auroc([3.0, 2.0], [1.0, 2.0]) == (1 + 1 + 1 + 0.5) / 4
