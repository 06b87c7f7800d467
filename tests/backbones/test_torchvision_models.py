"""torchvision's models: their maps and vectors are those of the library, and their names are checked."""

import pytest
import torch
from torchvision import models

from core.errors import UserError
from core.registry import BACKBONES, import_all
from tests.backbones.networks import images

import_all("core.backbones")
# One of each way in which the library builds a network, the smallest; inputs of 64 pixels.
CNNS = ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v2", "mobilenet_v3_small", "resnet18"]
CNNS += ["regnet_y_400mf", "densenet121", "efficientnet_b0", "convnext_tiny", "swin_t"]


def encoder(name, vector="native", size=64):
    torch.manual_seed(0)
    return BACKBONES[f"torchvision:{name}"](0, vector, size=size).eval()


def whole(name, ours):
    """The library's model with the encoder's weights, and random ones in its classifier."""
    model = models.get_model(name, weights=None).eval()
    state = {key.removeprefix("network."): value for key, value in ours.network.state_dict().items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith(("classifier", "fc", "head", "heads")) for name in missing)
    return model


@pytest.mark.parametrize("name", CNNS)
@torch.no_grad()
def test_the_vector_is_what_the_librarys_classifier_reads(name):
    ours = encoder(name)
    model, seen = whole(name, ours), []
    if name.startswith("convnext"):
        model.classifier[0].load_state_dict(ours.norm.state_dict())
    if name == "squeezenet1_1":  # its classifier is a convolution of the map
        pixels = images(2, 64)
        torch.testing.assert_close(ours(pixels)["map"], model.features(pixels))
        return
    last = [part for part in model.modules() if isinstance(part, torch.nn.Linear)][-1]
    if name == "mobilenet_v3_small":  # its classifier has two layers
        last = model.classifier[0]
    last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    pixels = images(2, 64)
    model(pixels)
    features = ours(pixels)
    torch.testing.assert_close(features["vector"], seen[0], rtol=1e-4, atol=1e-5)
    side = ours.map_size
    assert features["map"].shape == (2, ours.channels, side, side)
    assert features["vector"].shape == (2, ours.vector_dim)


@torch.no_grad()
def test_a_vision_transformer_gives_its_class_token_and_its_patches():
    ours = encoder("vit_b_32", "both")
    pixels = images(2, 64)
    features = ours(pixels)
    assert features["map"].shape == (2, 768, 2, 2)
    assert features["vector"].shape == (2, 1536) == (2, ours.vector_dim)
    model, seen = models.vit_b_32(weights=None, image_size=64).eval(), []
    model.load_state_dict({k: v for k, v in ours.network.state_dict().items()} | _heads(model))
    model.heads.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model(pixels)
    torch.testing.assert_close(features["vector"][:, :768], seen[0])
    torch.testing.assert_close(features["vector"][:, 768:], features["map"].mean((2, 3)))


def _heads(model):
    return {name: value for name, value in model.state_dict().items() if name.startswith("heads")}


def test_embeddings_of_positions_are_fitted_to_another_size():
    small = encoder("vit_b_32")
    state = models.vit_b_32(weights=None).state_dict()
    fitted = small.fitted(state)
    assert fitted["network.encoder.pos_embedding"].shape == small.network.encoder.pos_embedding.shape
    assert not [name for name in fitted if "heads" in name]
    assert set(fitted) == set(small.state_dict())


def test_what_the_weights_ask_for():
    kind = BACKBONES["torchvision:mobilenet_v2"]
    assert kind.preprocessing.size == 224
    assert kind.preprocessing.mean == (0.485, 0.456, 0.406)
    assert kind.preprocessing.interpolation == "bilinear"
    assert BACKBONES["torchvision:inception_v3"].preprocessing.mean == (0.5, 0.5, 0.5)
    published = list(encoder("mobilenet_v2").publications())
    assert [one.name for one in published] == [
        "MobileNet_V2_Weights.IMAGENET1K_V2",
        "MobileNet_V2_Weights.IMAGENET1K_V1",
    ]
    assert {one.data for one in published} == {"ImageNet-1k"}


def test_a_typo_is_answered_with_the_nearest_model():
    with pytest.raises(UserError, match=r"torchvision has no such model \(did you mean mobilenet_v2\?\)"):
        BACKBONES["torchvision:mobilenetv2"]


def test_a_name_is_one_class_in_any_case():
    assert BACKBONES["Torchvision:ResNet18"] is BACKBONES["torchvision:resnet18"]
    assert BACKBONES["torchvision:resnet18"].name == "torchvision:resnet18"


def test_a_class_token_of_a_cnn_is_refused():
    with pytest.raises(UserError, match="has no class token"):
        encoder("squeezenet1_1", "cls")


def test_a_size_between_patches_is_refused():
    with pytest.raises(UserError, match=r"patches of 32 pixels, and 84 is no multiple"):
        encoder("vit_b_32", size=84)
