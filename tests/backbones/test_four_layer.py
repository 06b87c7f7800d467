"""The four-layer networks: their sizes, and their layers in M2L's order."""

import pytest
import torch
import torch.nn.functional as F

from core.backbones.blocks import ConvBN, fold
from core.backbones.four_layer import FourLayer64F, FourLayer64F4x
from core.errors import UserError
from tests.backbones.networks import check_features, images, parameters, trained


@pytest.mark.parametrize(("network", "count"), [(FourLayer64F, 112_704), (FourLayer64F4x, 112_832)])
def test_parameter_count(network, count):
    assert parameters(network(84, "native")) == count


@pytest.mark.parametrize(
    ("network", "size", "side"),
    [(FourLayer64F, 32, 6), (FourLayer64F, 84, 19), (FourLayer64F4x, 32, 2), (FourLayer64F4x, 84, 5)],
)
@pytest.mark.parametrize("vector", ["flatten", "max", "mean", "native"])
def test_feature_sizes(network, size, side, vector):
    check_features(network(size, vector), size, 64, side, "mean" if vector == "native" else vector)


def test_too_small_an_image_is_one_sentence():
    with pytest.raises(UserError, match=r"^DATASET\.SIZE is 11, but BACKBONE\.NAME FourLayer_64F needs 12 pixels"):
        FourLayer64F(11, "native")
    assert FourLayer64F(12, "native").map_size == 1
    with pytest.raises(UserError, match=r"^DATASET\.SIZE is 15, but BACKBONE\.NAME FourLayer_64F_4x halves"):
        FourLayer64F4x(15, "native")


@pytest.mark.parametrize("size", [33, 42])
@pytest.mark.parametrize(("network", "pools"), [(FourLayer64F, 2), (FourLayer64F4x, 4)])
def test_four_layers_equal_m2ls_order(network, pools, size):
    backbone = trained(network(size, "native", width=8), 8, 3, size, size)
    x, pairs = images(3, size), [layer for layer in backbone.layers if isinstance(layer, ConvBN)]
    for number, (conv, norm) in enumerate(pairs):
        assert conv.bias is None
        x = F.conv2d(x, conv.weight, padding=1)
        x = F.leaky_relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias), 0.2)
        x = F.max_pool2d(x, 2) if number < pools else x
    if pools == 2:
        x = F.conv2d(x, backbone.layers[-1].weight)
    assert torch.allclose(backbone(images(3, size))["map"], x, rtol=0, atol=1e-5)
    assert torch.allclose(fold(backbone)(images(3, size))["map"], x, rtol=0, atol=1e-5)
