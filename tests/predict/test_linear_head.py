"""A head that is linear in the vector is found to be, whatever its name, and others are not."""

from dataclasses import replace

import pytest
import torch

from core.errors import UserError
from core.predict.classifier import make_classifier
from core.predict.linear_head import linear_head
from tests.predict.photos import drawn, network, supports_of

LINEAR = ("ProtoNet", "SimpleShot", "RFS", "Baseline", "Baseline++", "CosineProtoNet", "R2D2")


@pytest.mark.parametrize("method", LINEAR)
def test_the_matrix_answers_as_the_head_does(method):
    encoder = network(method)
    classifier = make_classifier(encoder, supports_of(encoder, [2, 1, 3]))
    head = linear_head(classifier, 1.5)
    assert head.weight.shape == (3, len(head.centre))
    vectors = encoder.encode(drawn([0, 1, 2, 3], [80, 81]), encoder.store(None)).features["vector"]
    expected = (1.5 * classifier.logits({"vector": vectors})).softmax(1)
    assert torch.allclose((1.5 * head.logits(vectors)).softmax(1), expected, atol=1e-4)


def test_prototypes_from_the_definition():
    encoder = network()
    classifier = make_classifier(encoder, supports_of(encoder, [2, 3]))
    head = linear_head(classifier, 1.0)
    support, labels = classifier.supports.features["vector"].double(), classifier.supports.labels
    means = torch.stack([support[labels == label].mean(0) for label in range(2)])
    weight = 2 * encoder.method.scale * means
    assert not head.unit
    assert torch.allclose(head.weight[0] - head.weight[1], weight[0] - weight[1], atol=1e-3)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("DN4", "DN4 compares map of images"),
        ("MAML", "MAML reads all queries together"),
        ("MatchingNet", "MatchingNet answers in a way that is not linear"),
    ],
)
def test_other_heads_say_why_not(method, reason):
    encoder = network(method)
    with pytest.raises(UserError, match=reason):
        linear_head(make_classifier(encoder, supports_of(encoder, [2] * 5)), 1.0)


def test_a_head_that_reads_the_queries_together_is_refused():
    encoder = network()
    classifier = make_classifier(encoder, supports_of(encoder, [2, 2]))
    encoder.folded.transductive = True
    with pytest.raises(UserError, match="ProtoNet reads all queries together"):
        linear_head(replace(classifier), 1.0)
