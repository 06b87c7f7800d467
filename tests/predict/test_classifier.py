"""Any method answers from any number of photographs; who is held out is answered by a classifier without."""

from dataclasses import replace

import pytest
import torch

from core.build.config import schemas
from core.errors import UserError
from core.predict.classifier import make_classifier, make_head_named, with_supports
from core.predict.supports import fold_numbers, make_supports
from tests.predict.photos import drawn, network, supports_of


def classifier_of(method, counts, head="own", **arguments):
    encoder = network(method, **arguments)
    return make_classifier(encoder, supports_of(encoder, counts), head)


def encoded_queries(classifier, kinds=(0, 1, 2), numbers=(50, 51)):
    encoder = classifier.network
    return encoder.encode(drawn(kinds, numbers), encoder.store(None)).features


def test_prototypes_of_unequal_classes_from_the_definition():
    classifier = classifier_of("ProtoNet", [1, 3, 2])
    query = encoded_queries(classifier)
    support, labels = classifier.supports.features["vector"].double(), classifier.supports.labels
    means = torch.stack([support[labels == label].mean(0) for label in range(3)])
    expected = -classifier.head.scale * ((query["vector"].double()[:, None] - means) ** 2).sum(-1)
    assert torch.allclose(classifier.logits(query), expected, rtol=1e-3)


@pytest.mark.parametrize("counts", [[3, 3, 3], [1, 3, 2]])
def test_out_of_fold_answers_are_those_of_a_classifier_without_the_fold(counts):
    classifier = classifier_of("ProtoNet", counts)
    logits, rows = classifier.out_of_fold()
    folds = fold_numbers(classifier.supports)
    assert sorted(rows.tolist()) == (folds >= 0).nonzero()[:, 0].tolist()
    for number, row in enumerate(rows.tolist()):
        kept = (folds != folds[row]).nonzero()[:, 0].tolist()
        alone = with_supports(classifier, classifier.supports.of(kept))
        query = {name: value[row : row + 1] for name, value in classifier.supports.features.items()}
        assert torch.allclose(logits[number], alone.logits(query)[0], rtol=1e-4, atol=1e-4)


def test_one_photo_a_class_holds_nothing_out():
    logits, rows = classifier_of("ProtoNet", [1, 1]).out_of_fold()
    assert logits.shape == (0, 2)
    assert len(rows) == 0


def test_queries_in_parts_get_the_same_answers():
    classifier = classifier_of("DN4", [2, 1, 3])
    query = encoded_queries(classifier, numbers=range(50, 60))
    whole = classifier.logits(query)
    size = sum(value[0].nbytes for value in query.values())
    cfg = classifier.network.cfg.clone()
    cfg.defrost()
    cfg.EVAL.MEMORY_MB = 40 * size / 2**20  # room for four beside the six supports
    parts = replace(classifier, network=replace(classifier.network, cfg=cfg)).logits(query)
    assert torch.allclose(parts, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", sorted(schemas().methods))
def test_every_method_answers_from_unequal_classes(method):
    classifier = classifier_of(method, [1, 3, 2, 1, 2])
    logits = classifier.logits(encoded_queries(classifier))
    assert logits.shape == (6, 5)
    assert logits.isfinite().all()
    assert torch.equal(logits, classifier.logits(encoded_queries(classifier)))


@pytest.mark.parametrize("head", ["RFS", "simpleshot", "NegMargin"])
def test_another_head_answers_on_the_same_features(head):
    if head == "simpleshot":
        with pytest.raises(UserError, match="SimpleShot, which reads the mean features of base classes"):
            classifier_of("ProtoNet", [2, 2], head)
        return
    classifier = classifier_of("ProtoNet", [2, 2, 1], head)
    assert classifier.head.name == head
    logits = classifier.logits(encoded_queries(classifier))
    assert logits.shape == (6, 3)
    assert not torch.allclose(logits, logits[:1])


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match=r"--head is 'RSF', which is not one of: own, .*\(did you mean RFS\?\)"):
        classifier_of("ProtoNet", [2, 2], "RSF")
    with pytest.raises(UserError, match="--head names DN4, which needs the feature 'map', but ProtoNet encodes vector"):
        classifier_of("ProtoNet", [2, 2], "DN4")
    with pytest.raises(UserError, match="--head names FEAT, which has learned parameters outside the backbone"):
        classifier_of("ProtoNet", [2, 2], "FEAT")


def test_an_encoder_has_no_weights_for_a_head_that_learns():
    encoder = network("FEAT")
    made = supports_of(encoder, [2, 2])
    make_classifier(encoder, made)  # of a checkpoint
    with pytest.raises(UserError, match=r"--head names FEAT, .* and an encoder does not hold them"):
        make_classifier(replace(encoder, origin={"sha256": "encoder"}), made)


def test_a_head_that_episodes_would_train_is_refused_where_there_were_none():
    encoder = network("ProtoNet")
    with pytest.raises(UserError, match=r"^--head is MTL, whose initial head is trained for one way, but no episode"):
        make_head_named(replace(encoder, facts=encoder.facts | {"way": 0}), "MTL")


def test_classes_without_a_word_vector_are_named():
    encoder = network("AM3")
    photos = [replace(photo, label=f"x{photo.label}") for photo in drawn([0, 1], [0])]
    supports = make_supports(encoder.encode(photos, encoder.store(None)), encoder)
    with pytest.raises(UserError, match="xapple"):
        make_classifier(encoder, supports)


def test_word_vectors_of_another_length_are_refused():
    encoder = replace(network("AM3"), words=torch.zeros(8, 50))
    with pytest.raises(UserError, match=r"AM3 was trained with word vectors of length 50, but .* have length 100"):
        make_classifier(encoder, supports_of(encoder, [1, 1]))
