"""Weights of an encoder: files of several kinds, the library's own, and words for those that do not fit."""

from pathlib import Path

import pytest
import torch
from torchvision import models

from core.build.encoders import make_encoder
from core.engine.encoder_weights import load_weights, state_hash
from core.errors import UserError
from core.files import sha256
from core.registry import BACKBONES
from tests.backbones.networks import images
from tests.weights import MOBILENET, needs_mobilenet

NAME = "torchvision:shufflenet_v2_x0_5"  # 0.3 million weights in its trunk


def whole(seed=1):
    torch.manual_seed(seed)
    return models.shufflenet_v2_x0_5(weights=None).eval()


@pytest.fixture
def encoder():
    return make_encoder(NAME, size=32)[0]


@pytest.fixture
def kept(tmp_path):
    """Save a state dict; returns the file."""

    def kept(state, name="weights.pth"):
        torch.save(state, tmp_path / name)
        return str(tmp_path / name)

    return kept


def refused(encoder, weights):
    with pytest.raises(UserError) as error:
        load_weights(encoder, weights)
    return str(error.value)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
@torch.no_grad()
def test_a_file_gives_the_librarys_network(encoder, kept, wrap):
    model = whole()
    file = kept(wrap(model.state_dict()))
    external = load_weights(encoder, file)
    pixels = images(2, 32)
    expected = model.conv5(model.stage4(model.stage3(model.stage2(model.maxpool(model.conv1(pixels))))))
    torch.testing.assert_close(encoder(pixels)["map"], expected)
    assert external == encoder.external
    assert (external.encoder, external.weights, external.data) == (NAME, "weights.pth", "data not known")
    assert external.sha256 == sha256(Path(file))


def test_safetensors(encoder, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    file = tmp_path / "weights.safetensors"
    safetensors.save_file(whole().state_dict(), file)
    load_weights(encoder, str(file))
    assert torch.equal(encoder.network.conv1[0].weight, whole().conv1[0].weight)
    file.write_bytes(b"no tensors")
    assert "not a readable file of safetensors" in refused(encoder, str(file))


def test_a_file_of_another_network_is_refused(encoder, kept):
    before = state_hash(encoder.state_dict())
    sentence = refused(encoder, kept(models.squeezenet1_1(weights=None).state_dict()))
    assert f"does not fit BACKBONE.NAME {NAME}" in sentence
    assert "choose the model that they were made for" in sentence
    assert state_hash(encoder.state_dict()) == before


def test_a_file_that_lacks_a_weight_or_has_another_shape_is_refused(encoder, kept):
    state = whole().state_dict()
    del state["conv5.0.weight"]
    assert "1 of its entries are missing, 0 have another shape" in refused(encoder, kept(state))
    state["conv5.0.weight"] = torch.zeros(2, 2)
    assert "0 of its entries are missing, 1 have another shape" in refused(encoder, kept(state))


def test_what_is_no_file_of_weights_is_refused(encoder, tmp_path):
    assert "which is not a file; give a file of weights, or `default`" in refused(encoder, "no_such_file.pth")
    file = tmp_path / "text.pth"
    file.write_text("no weights")
    assert "is not a readable checkpoint" in refused(encoder, str(file))


def test_without_a_connection_default_says_what_to_do(encoder, monkeypatch):
    def offline(self):
        raise OSError("Name or service not known")

    monkeypatch.setattr(BACKBONES[NAME], "download", offline)
    sentence = refused(encoder, "default")
    assert "torchvision could not fetch https://" in sentence
    assert "(Name or service not known); fetch it on a machine with a connection" in sentence


def test_default_are_the_librarys_own(encoder, monkeypatch):
    monkeypatch.setattr(BACKBONES[NAME], "download", lambda self: whole().state_dict())
    external = load_weights(encoder, "default")
    assert external.weights == "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1"
    assert external.data == "ImageNet-1k"
    assert external.sha256 == state_hash(whole().state_dict())


@needs_mobilenet
def test_real_weights_are_recognised_by_their_check_sum():
    encoder, external = make_encoder("torchvision:mobilenet_v2", str(MOBILENET))
    assert external.as_dict() == {
        "encoder": "torchvision:mobilenet_v2",
        "weights": "MobileNet_V2_Weights.IMAGENET1K_V1",
        "data": "ImageNet-1k",
        "licence": "BSD-3-Clause (torchvision)",
        "sha256": "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    }
    model = models.mobilenet_v2(weights=None).eval()
    model.load_state_dict(torch.load(MOBILENET, weights_only=True))
    pixels = images(1, 224)
    with torch.no_grad():
        torch.testing.assert_close(encoder(pixels)["vector"], model.features(pixels).mean((2, 3)))


@needs_mobilenet
def test_weights_of_another_model_of_the_library_are_named(encoder):
    assert refused(encoder, str(MOBILENET)).endswith("choose torchvision:mobilenet_v2.")
