"""TapNet's ResNet-12: its size, and its layers in the authors' order."""

import pytest
import torch
import torch.nn.functional as F

from core.backbones.blocks import fold
from core.backbones.resnet12tap import ResNet12Tap
from core.errors import UserError
from tests.backbones.networks import check_features, images, parameters, trained


def test_parameter_count():
    assert parameters(ResNet12Tap(84, "native")) == 9_378_432


@pytest.mark.parametrize(("size", "side"), [(32, 2), (33, 3), (84, 6)])
def test_feature_sizes(size, side):
    check_features(ResNet12Tap(size, "native", width=4), size, 32, side, "mean")


def test_too_small_an_image_is_one_sentence():
    with pytest.raises(UserError, match=r"^DATASET\.SIZE is 15, but BACKBONE\.NAME ResNet12Tap halves"):
        ResNet12Tap(15, "native")


def test_the_layers():
    backbone = trained(ResNet12Tap(21, "native", width=4), 4, 3, 21, 21)

    def applied(x, pair):
        conv, norm = pair
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    x = images(3, 21)
    for block in backbone.blocks:
        first, _, second, _, third = block.body
        out = applied(applied(applied(x, first).relu(), second).relu(), third)
        x = F.max_pool2d((out + applied(x, block.shortcut)).relu(), 2, ceil_mode=True)
    assert torch.allclose(backbone(images(3, 21))["map"], x, rtol=0, atol=1e-4)
    assert torch.allclose(fold(backbone)(images(3, 21))["map"], x, rtol=0, atol=1e-4)


def test_dropout_acts_behind_the_blocks():
    backbone = ResNet12Tap(32, "native", width=4, drop_first=0.3, drop_rest=0.2)
    assert [block.tail[2].p for block in backbone.blocks] == [0.3, 0.2, 0.2, 0.2]
