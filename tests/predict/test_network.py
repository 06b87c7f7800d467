"""Photographs become features one by one, each once, whatever they are encoded beside."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.predict import network as module
from core.predict.network import PhotoNetwork
from core.predict.photos import Photo
from tests.predict.photos import SIDE, drawn, network


@pytest.fixture
def encoder():
    return network()


def test_features_are_those_of_each_photo_alone(encoder):
    photos = drawn([0, 1, 2], range(5))
    together = encoder.encode(photos, encoder.store(None)).features["vector"]
    for number in (0, 7, 14):
        alone = encoder.encode(photos[number : number + 1], encoder.store(None)).features["vector"]
        assert torch.equal(alone[0], together[number])


def test_a_second_call_encodes_the_new_photo_alone(encoder, tmp_path, monkeypatch):
    photos = drawn([0, 1], range(3))
    first = encoder.encode(photos, encoder.store(tmp_path / "cache"))
    seen = []
    real = PhotoNetwork._features
    monkeypatch.setattr(
        PhotoNetwork, "_features", lambda self, pixels, *more: seen.append(len(pixels)) or real(self, pixels, *more)
    )
    again = encoder.encode([*photos, *drawn([5], [9])], encoder.store(tmp_path / "cache"))
    assert seen == [1]
    assert torch.equal(again.features["vector"][:6], first.features["vector"])
    assert np.array_equal(again.looks[:6], first.looks)


def test_other_weights_or_another_normalisation_have_other_features(encoder):
    assert replace(encoder, mean=(0.4,) * 3).key() != encoder.key()
    assert replace(encoder, origin={"sha256": "other"}).key() != encoder.key()


def test_what_does_not_decode_is_named_and_the_rest_encoded(encoder):
    photos = [*drawn([0], [0]), Photo("torn.jpg", b"\xff\xd8\xff no more"), *drawn([1], [0])]
    encoded = encoder.encode(photos, encoder.store(None))
    assert encoded.bad == {"torn.jpg": "does not decode as an image, perhaps cut short"}
    assert len(encoded.photos) == len(encoded.features["vector"]) == 2


def test_two_names_of_one_content_are_one_photo(encoder):
    (one,) = drawn([0], [0])
    encoded = encoder.encode([one, replace(one, name="again")], encoder.store(None))
    assert [photo.name for photo in encoded.photos] == ["image 0", "again"]
    assert torch.equal(encoded.features["vector"][0], encoded.features["vector"][1])


def test_pixels_are_normalised_with_the_networks_statistics(encoder):
    """From the definition: (value / 255 - mean) / std, channels first."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    seen = encoder.encoder(module.Pixels(encoder.as_split(pixels), encoder.device)).inputs(torch.arange(2))
    expected = (pixels.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    assert np.allclose(seen["image"].numpy(), expected, atol=1e-6)


def test_random_crops_follow_the_content():
    encoder = network("RFS", augmented=True)
    encoder.cfg.defrost()
    encoder.cfg.DATASET.VIEWS = ["whole", "aug-3"]
    photos = drawn([0, 1, 2], [0])
    forwards = encoder.encode(photos, encoder.store(None)).features["parts"]
    backwards = encoder.encode(photos[::-1], encoder.store(None)).features["parts"]
    assert torch.equal(forwards, backwards.flip(0))


def test_long_encoding_is_announced_once(encoder, monkeypatch):
    lines = []
    monkeypatch.setattr(module, "WORTH_A_LINE", 0.0)
    monkeypatch.setattr(module.log, "info", lambda text, *values: lines.append(text % values))
    encoder.cfg.defrost()
    encoder.cfg.EVAL.BATCH = 4
    encoder.encode(drawn([0, 1], range(6)), encoder.store(None))
    assert len(lines) == 1
    assert lines[0].startswith("encoding 12 photos x ")


@pytest.mark.parametrize("method", ["ProtoNet", "DN4", "MAML"])
def test_places_have_length_one(method):
    encoder = network(method)
    encoded = encoder.encode(drawn([0, 1], range(2)), encoder.store(None))
    assert torch.allclose(encoder.places(encoded.features).norm(dim=1), torch.ones(4))
