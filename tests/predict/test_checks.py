"""What the user is told about the photographs."""

import pytest

from core.predict.answers import answer
from core.predict.checks import (
    checks,
    copies,
    duplicates,
    in_two_classes,
    other_folders,
    rejects_nothing,
    single,
    unreadable,
)
from core.predict.classifier import make_classifier
from core.predict.photos import Photo
from core.predict.supports import make_supports
from core.predict.trust import measure_trust
from tests.predict.photos import CLASSES, drawn, network, supports_of, write_photo


@pytest.fixture(scope="module")
def encoder():
    return network()


def test_a_photo_that_is_a_support_is_found_whatever_its_name(encoder):
    supports = supports_of(encoder, [2, 2])
    (same,) = drawn([1], [0])
    encoded = encoder.encode([Photo("new.png", same.source), *drawn([3], [7])], encoder.store(None))
    assert duplicates(supports, encoded) == {"new.png": ("image 0", True)}


def test_the_same_picture_in_another_file_is_found(encoder, tmp_path):
    supports = supports_of(encoder, [1, 1])
    jpeg = write_photo(tmp_path / "copy.jpg", 1, 0, quality=95)
    encoded = encoder.encode([Photo("copy.jpg", jpeg)], encoder.store(None))
    assert duplicates(supports, encoded) == {"copy.jpg": ("image 0", False)}


def test_a_picture_in_two_classes_is_named(encoder, tmp_path):
    jpeg = write_photo(tmp_path / "copy.jpg", 0, 1, quality=95)
    (same,) = drawn([1], [0])
    photos = [*drawn([0, 1], [0, 1]), Photo("copied.png", same.source, CLASSES[0]), Photo("copy.jpg", jpeg, CLASSES[1])]
    photos[:4] = [Photo(f"{number}.png", photo.source, photo.label) for number, photo in enumerate(photos[:4])]
    supports = make_supports(encoder.encode(photos, encoder.store(None)), encoder)
    (sentence,) = in_two_classes(supports)
    assert sentence.startswith("2 pictures are among the supports of two classes: ")
    assert {frozenset(pair.split(" = ")) for pair in sentence.partition(": ")[2].split(", ")} == {
        frozenset({"copied.png", "2.png"}),
        frozenset({"copy.jpg", "1.png"}),
    }
    assert not in_two_classes(supports_of(encoder, [2, 2]))


def test_classes_with_one_photo_are_named(encoder):
    assert single(supports_of(encoder, [1, 2]))[0].startswith(f"{CLASSES[0]} has one photo")
    assert single(supports_of(encoder, [1, 1, 2]))[0].startswith("2 classes have one photo")
    assert not single(supports_of(encoder, [2, 2]))


def test_a_photo_of_something_else_is_pointed_out(encoder):
    classifier = make_classifier(encoder, supports_of(encoder, [4, 4]))
    trust = measure_trust(classifier)
    photos = [*drawn([0], [50]), Photo("other", drawn([5], [50])[0].source)]
    encoded = encoder.encode(photos, encoder.store(None))
    rows = answer(classifier, trust, encoded, 0.0)
    (sentence,) = checks(classifier.supports, encoded, rows, trust)
    assert sentence.startswith("1 photo is unlike all supports, perhaps of no class: other")


def test_copies_within_a_class_are_named(encoder, tmp_path):
    jpeg = write_photo(tmp_path / "copy.jpg", 0, 0, quality=95)
    photos = [*drawn([0, 1], [0, 1]), Photo("copy.jpg", jpeg, CLASSES[0])]
    photos[:4] = [Photo(f"{number}.png", photo.source, photo.label) for number, photo in enumerate(photos[:4])]
    supports = make_supports(encoder.encode(photos, encoder.store(None)), encoder)
    (sentence,) = copies(supports)
    assert sentence.startswith("1 photo looks like another one of its class, which brings nothing new: ")
    assert not copies(supports_of(encoder, [3, 3]))


def test_folders_of_no_class_are_named(encoder):
    classifier = make_classifier(encoder, supports_of(encoder, [2, 2]))
    encoded = encoder.encode(drawn([0, 5], [50]), encoder.store(None))
    rows = answer(classifier, measure_trust(classifier), encoded, 0.0)
    (sentence,) = other_folders(classifier.supports.classes, rows)
    assert (
        sentence == f"1 folder of queries is called like no class (their photos count as photos of none): {CLASSES[5]}"
    )


def test_a_share_that_cannot_be_rejected_is_said(encoder):
    alone, two = (measure_trust(make_classifier(encoder, supports_of(encoder, [n, n]))) for n in (1, 2))
    assert rejects_nothing(alone, 0.3)[0].startswith("--reject 0.3 rejects nothing, as too few photos can be held out")
    assert rejects_nothing(alone, 0) == rejects_nothing(two, 0.3) == []


def test_every_unreadable_file_has_a_line():
    assert unreadable({"a.jpg": "is empty (0 bytes)"}) == ["a.jpg is empty (0 bytes)"]
