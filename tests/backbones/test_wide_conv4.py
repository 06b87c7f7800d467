"""R2D2's network: its size, and its layers in the authors' order."""

import pytest
import torch
import torch.nn.functional as F

from core.backbones.blocks import ConvBN, fold
from core.backbones.wide_conv4 import WideConv4
from core.errors import UserError
from tests.backbones.networks import check_features, images, parameters, trained


def test_parameter_count():
    assert parameters(WideConv4(84, "native")) == 2_605_056


@pytest.mark.parametrize(("size", "side"), [(28, 2), (32, 3), (84, 9)])
@pytest.mark.parametrize("vector", ["flatten", "mean", "native"])
def test_feature_sizes(size, side, vector):
    check_features(WideConv4(size, vector, width=12), size, 48 + 64, side, "flatten" if vector == "native" else vector)


@pytest.mark.parametrize(("size", "length"), [(28, 3584), (32, 8064), (84, 72576)])
def test_the_lengths_that_the_paper_gives(size, length):
    with torch.device("meta"):
        assert WideConv4(size, "native").vector_dim == length


def test_too_small_an_image_is_one_sentence():
    with pytest.raises(UserError, match=r"^DATASET\.SIZE is 15, but BACKBONE\.NAME WideConv4 needs 16 pixels or more"):
        WideConv4(15, "native")
    assert WideConv4(16, "native").map_size == 1


def test_the_layers():
    backbone = trained(WideConv4(33, "native", width=6), 4, 3, 33, 33)
    x, outputs = images(3, 33), []
    for number, (conv, norm) in enumerate(layer for layer in backbone.modules() if isinstance(layer, ConvBN)):
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        x = F.max_pool2d(x, 2, stride=2 if number < 3 else 1)
        x = F.leaky_relu(x, 0.1) if number < 3 else x
        outputs.append(x)
    expected = torch.cat([F.max_pool2d(outputs[2], 2, stride=1), outputs[3]], 1)
    assert torch.allclose(backbone(images(3, 33))["map"], expected, rtol=0, atol=1e-5)
    assert torch.allclose(fold(backbone)(images(3, 33))["map"], expected, rtol=0, atol=1e-5)


def test_dropout_acts_behind_the_last_two_blocks():
    backbone = WideConv4(32, "native", width=6, drop_rate=0.5).train()
    maps = backbone(images(8, 32))["map"]
    plain = WideConv4(32, "native", width=6).train()(images(8, 32))["map"]
    assert (maps[:, 24:] == 0).float().mean() > 0.3
    assert (plain[:, 24:] == 0).float().mean() < 0.1
