"""ResNet-10: its size, its maps and its last ReLU; weights of Hariharan's code are in tests/engine/test_weights.py."""

import pytest
import torch

from core.backbones.resnet10 import ResNet10
from tests.backbones.networks import images, parameters


def test_parameter_count():
    backbone = ResNet10(224, "native")
    assert parameters(backbone) == 4_905_792
    assert (backbone.channels, backbone.map_size, backbone.vector_dim) == (512, 7, 512)


@pytest.mark.parametrize(("size", "side"), [(64, 2), (84, 3)])
def test_sizes(size, side):
    backbone = ResNet10(size, "flatten").eval()
    with torch.no_grad():
        features = backbone(images(2, size))
    assert features["map"].shape == (2, 512, side, side)
    assert features["vector"].shape == (2, backbone.vector_dim) == (2, 512 * side**2)


def test_without_the_last_relu_features_have_both_signs():
    torch.manual_seed(0)
    plain = ResNet10(32, "native").eval()
    signed = ResNet10(32, "native", last_relu=False).eval()
    signed.load_state_dict(plain.state_dict())
    with torch.no_grad():
        maps, signed_maps = (backbone(images(2, 32))["map"] for backbone in (plain, signed))
    assert (signed_maps < 0).any()
    assert torch.equal(maps, signed_maps.relu())
