"""Probabilities, thresholds and expected accuracy from supports that were held out and from reference episodes."""

import math

import pytest
import torch

from core.ops.temperature import fit_inverse_temperature, wide_prior
from core.predict.calibration import SHARES, Calibration, Line
from core.predict.classifier import make_classifier
from core.predict.supports import fold_numbers
from core.predict.trust import held_out_similarities, measure_trust
from tests.predict.photos import network, supports_of


@pytest.fixture(scope="module")
def encoder():
    return network()


def classifier_of(encoder, counts):
    return make_classifier(encoder, supports_of(encoder, counts))


def calibration(shot=3, slope=0.5, rejection=None, **more):
    line, later = Line(1.0, slope, -0.5, 0.6), Line(1.5, slope, -0.4, 0.5)
    values = {"centre": 0.3, "spread": 0.8, "shift": 0.2, "rejection": rejection or [2 * share for share in SHARES]}
    return Calibration("9 classes of tests", 3, shot, 200, {shot: line, shot + 2: later}, **values | more)


def test_every_support_that_can_be_spared_is_counted(encoder):
    classifier = classifier_of(encoder, [3, 1, 4])
    trust = measure_trust(classifier, None, "there is none")
    logits, rows = classifier.out_of_fold()
    assert trust.held_out == len(trust.similarities) == 7
    labels = classifier.supports.labels[rows]
    shares = [(logits[labels == c].argmax(1) == c).double().mean() for c in (0, 2)]  # class 1 has none to spare
    assert trust.correct == pytest.approx(float(sum(shares)) / 2)
    expected = fit_inverse_temperature(logits[None], labels[None], *wide_prior(logits[None]))
    assert trust.tau == pytest.approx(float(expected))
    assert trust.describe() == [
        "probabilities: temperature from 7 held-out supports",
        "expected accuracy: not known, as there is none",
    ]
    assert trust.expected() == []


def test_similarities_from_the_definition(encoder):
    supports = supports_of(encoder, [2, 1, 3])
    folds, labels, places = fold_numbers(supports).tolist(), supports.labels.tolist(), supports.places.double()
    expected = []
    for i, fold in enumerate(folds):
        others = [j for j in range(6) if not (labels[j] == labels[i] and folds[j] == fold)]
        if fold >= 0:
            expected.append(max(float(places[i] @ places[j]) for j in others))
    assert held_out_similarities(supports).tolist() == pytest.approx(sorted(expected))


def test_a_threshold_leaves_its_share_of_the_supports_below(encoder):
    trust = measure_trust(classifier_of(encoder, [5, 5]))
    assert trust.refused_supports(0.2) == pytest.approx(0.2)
    assert trust.threshold(0) == -math.inf


def test_reference_episodes_correct_the_threshold(encoder):
    classifier = classifier_of(encoder, [5, 5])
    corrected = measure_trust(classifier, calibration())
    similar = corrected.similarities
    assert corrected.threshold(0.1) == pytest.approx(float(similar.mean() + 0.2 * similar.std()))


def test_reference_episodes_give_the_prior_and_the_shift(encoder):
    classifier = classifier_of(encoder, [3, 3, 3])
    trust = measure_trust(classifier, calibration())
    logits, rows = classifier.out_of_fold()
    labels = classifier.supports.labels[rows]
    tau = fit_inverse_temperature(logits[None], labels[None], torch.tensor([0.3]), torch.tensor([0.8]))
    assert trust.tau == pytest.approx(float(tau) * math.exp(0.2))


def test_expected_accuracy_from_the_definition(encoder):
    trust = measure_trust(classifier_of(encoder, [3, 3, 3]), calibration())
    now, later = trust.expected()
    right = trust.correct * 9
    centre = 1.0 + 0.5 * math.log((right + 0.5) / (9 - right + 0.5))
    shares = [100 / (1 + math.exp(-value)) for value in (centre, centre - 0.5, centre + 0.6)]
    assert (now.percent, now.low, now.high) == pytest.approx(shares)
    assert (now.shot, later.shot) == (3, 5)
    assert trust.describe()[1].startswith(
        f"expected accuracy: {now}; reference: 200 episodes of 9 classes of tests, 3 cl"
    )
    assert trust.describe()[2] == f"with more photos of each class: 5: {later}"


def test_with_one_photo_a_class_the_reference_alone_speaks(encoder):
    classifier = classifier_of(encoder, [1, 1, 1])
    trust = measure_trust(classifier, calibration(shot=1, slope=0.0, rejection=[s / 2 for s in SHARES], shift=0.0))
    assert trust.tau == pytest.approx(math.exp(0.3), rel=1e-4)
    assert trust.threshold(0.1) == pytest.approx(0.05)
    assert trust.expected()[0].percent == pytest.approx(100 / (1 + math.exp(-1.0)))
    assert "so that the reference alone speaks" in trust.describe()[1]


def test_without_a_photo_to_spare_and_without_a_reference_nothing_is_claimed(encoder):
    trust = measure_trust(classifier_of(encoder, [1, 1]))
    assert trust.held_out == 0
    assert trust.threshold(0.1) == -math.inf
    assert "not fitted" in trust.describe()[0]


def test_probabilities_follow_the_temperature(encoder):
    trust = measure_trust(classifier_of(encoder, [3, 3]))
    z = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert float(trust.probabilities(z)[0, 1]) == pytest.approx(1 / (1 + math.exp(-trust.tau)))
