"""Supports stand class by class, and the same picture is never on both sides of a fold."""

import pytest
import torch

from core.errors import UserError
from core.predict.supports import fold_numbers, make_supports, make_task
from tests.predict.photos import drawn, network, supports_of


@pytest.fixture
def encoder():
    return network()


def test_supports_are_sorted_by_class_with_their_own_features(encoder):
    photos = [*drawn([1], range(2)), *drawn([0], range(3))]
    encoded = encoder.encode(photos, encoder.store(None))
    supports = make_supports(encoded, encoder)
    assert supports.classes == ["apple", "bear"]
    assert supports.counts == [3, 2]
    assert torch.equal(supports.features["vector"][3:], encoded.features["vector"][:2])
    assert supports.of([0, 3]).counts == [1, 1]


def test_one_class_is_refused(encoder):
    encoded = encoder.encode(drawn([0], range(2)), encoder.store(None))
    with pytest.raises(UserError, match="1 class has photos that can be read"):
        make_supports(encoded, encoder)


@pytest.mark.parametrize(
    ("counts", "folds"),
    [
        ([3, 3], [0, 1, 2, 0, 1, 2]),
        ([1, 1], [-1, -1]),
        ([1, 3], [-1, 0, 1, 2]),
        ([2, 3], [0, 1, 0, 1, 2]),
    ],
)
def test_every_photo_that_can_be_spared_is_held_out_once(encoder, counts, folds):
    assert fold_numbers(supports_of(encoder, counts)).tolist() == folds


def test_many_photos_are_held_out_in_few_folds_of_one_shape(encoder):
    folds = fold_numbers(supports_of(encoder, [12, 12]))
    assert folds.tolist() == [place % 6 for place in range(12)] * 2


def test_the_same_picture_twice_is_held_out_together(encoder):
    photos = [*drawn([0], [0, 1]), *drawn([0], [0]), *drawn([1], range(3))]
    supports = make_supports(encoder.encode(photos, encoder.store(None)), encoder)
    assert fold_numbers(supports).tolist() == [0, 1, 0, 0, 1, 2]


def test_a_task_says_whether_shots_are_equal():
    features = {"vector": torch.zeros(1, 3, 2)}
    labels = torch.tensor([0, 1, 1])
    assert make_task(features, labels, features, 2, torch.zeros(1, dtype=torch.long)).shot is None
    even = {"vector": torch.zeros(2, 4, 2)}
    task = make_task(even, torch.tensor([0, 0, 1, 1]), even, 2, torch.zeros(2, dtype=torch.long))
    assert task.shot == 2
    assert task.support_y.tolist() == [[0, 0, 1, 1]] * 2
