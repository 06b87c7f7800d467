"""Probabilities and thresholds from the supports that were held out."""

import math

import pytest
import torch

from core.predict.classifier import make_classifier
from core.predict.trust import knownness, measure_trust
from tests.predict.photos import network, supports_of


def test_trust_is_measured_on_every_support_that_can_be_spared():
    encoder = network()
    classifier = make_classifier(encoder, supports_of(encoder, [3, 1, 4]))
    trust = measure_trust(classifier)
    logits, rows = classifier.out_of_fold()
    assert trust.fitted_on == 7
    assert torch.equal(trust.knownness, logits.amax(1).sort().values)
    assert trust.correct == (logits.argmax(1) == classifier.supports.labels[rows]).double().mean()
    assert 0 < trust.tau < math.inf
    assert trust.describe().startswith("probabilities: temperature fitted on 7 supports")


def test_a_threshold_leaves_its_share_of_the_supports_below():
    encoder = network()
    trust = measure_trust(make_classifier(encoder, supports_of(encoder, [5, 5])))
    assert (trust.knownness < trust.threshold(0.2)).double().mean() == pytest.approx(0.2)
    assert trust.threshold(0) == -math.inf


def test_without_a_photo_to_spare_nothing_is_fitted_and_nothing_rejected():
    encoder = network()
    trust = measure_trust(make_classifier(encoder, supports_of(encoder, [1, 1])))
    assert trust.fitted_on == 0
    assert trust.threshold(0.1) == -math.inf
    assert "not fitted" in trust.describe()


def test_probabilities_follow_the_temperature():
    encoder = network()
    trust = measure_trust(make_classifier(encoder, supports_of(encoder, [3, 3])))
    z = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(trust.probabilities(z)[0, 1], torch.tensor(1 / (1 + math.exp(-trust.tau)), dtype=z.dtype))
    assert knownness(z).tolist() == [1.0]
