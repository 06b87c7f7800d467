"""timm's models: maps, tokens and vectors are those of the library."""

import sys

import pytest
import torch

from core.errors import UserError
from core.registry import BACKBONES, import_all
from tests.backbones.networks import images

timm = pytest.importorskip("timm")
import_all("core.backbones")


def encoder(name, vector="native", size=64):
    torch.manual_seed(0)
    return BACKBONES[f"timm:{name}"](0, vector, size=size).eval()


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "test_vit", "test_byobnet"])
@torch.no_grad()
def test_the_vector_is_what_timms_classifier_reads(name):
    ours = encoder(name)
    sized = {"img_size": 64} if name == "test_vit" else {}
    model = timm.create_model(name, **sized).eval()
    _, unexpected = model.load_state_dict(ours.network.state_dict(), strict=False)
    assert not unexpected
    pixels = images(2, 64)
    features = ours(pixels)
    native = model.forward_head(model.forward_features(pixels), pre_logits=True)
    torch.testing.assert_close(features["vector"], native)
    side = ours.map_size
    assert features["map"].shape == (2, ours.channels, side, side)
    assert features["vector"].shape == (2, ours.vector_dim)


@torch.no_grad()
def test_tokens_of_a_transformer_become_a_map():
    ours = encoder("test_vit", "both")
    tokens = ours.network.forward_features(pixels := images(2, 64))
    features = ours(pixels)
    assert features["map"].shape == (2, ours.channels, 4, 4)
    assert torch.equal(features["map"][:, :, 1, 2], tokens[:, 1 + 6])
    torch.testing.assert_close(features["vector"], torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1))
    assert features["vector"].shape == (2, ours.vector_dim)


def test_windows_in_channels_last_order_become_a_map():
    ours = encoder("swin_tiny_patch4_window7_224")
    with torch.no_grad():
        assert ours(images(1, 64))["map"].shape == (1, 768, 2, 2)


def test_what_the_weights_ask_for_and_where_they_come_from():
    kind = BACKBONES["timm:vit_small_patch14_dinov2.lvd142m"]
    preprocessing = kind.preprocessing
    assert (preprocessing.size, preprocessing.interpolation) == (518, "bicubic")
    (published,) = encoder("vit_tiny_patch16_224.augreg_in21k_ft_in1k").publications()
    assert published.data == "ImageNet-21k, then ImageNet-1k"
    assert published.licence == "apache-2.0"


def test_a_typo_is_answered_with_the_nearest_model():
    with pytest.raises(UserError, match=r"timm has no such model \(did you mean resnet10t\?\)"):
        BACKBONES["timm:resnt10t"]


def test_without_timm_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="python -m pip install timm"):
        BACKBONES["timm:some_other_model"]
