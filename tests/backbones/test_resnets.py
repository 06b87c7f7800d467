"""ResNet-12 and ResNet-18: their blocks, sizes, dropping, and weights from elsewhere."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from core.backbones.resnet12 import Residual, ResNet12
from core.backbones.resnet18 import BasicBlock, ResNet18
from core.errors import UserError
from tests.backbones.test_backbones import images, trained


def test_resnet12_without_the_last_pool_is_the_same_network_before_it():
    whole, larger = trained(ResNet12(32, "native"), 4, 3, 32, 32), ResNet12(32, "native", pools=3).eval()
    larger.load_state_dict(whole.state_dict())
    with torch.no_grad():
        pooled = F.max_pool2d(larger(images(2, 32))["map"], 2)
        torch.testing.assert_close(pooled, whole(images(2, 32))["map"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("stem", "size", "side"), [(7, 224, 7), (7, 84, 3), (7, 33, 2), (3, 84, 11), (3, 32, 4), (3, 33, 5)]
)
def test_resnet18_sizes(stem, size, side):
    backbone = ResNet18(size, "native", stem=stem).eval()
    with torch.no_grad():
        found = backbone(images(2, size))
    assert found["map"].shape == (2, 512, side, side)
    assert backbone.map_size == side
    assert found["vector"].shape == (2, backbone.vector_dim) == (2, 512)


def test_resnet18_has_two_stems():
    with pytest.raises(UserError) as caught:
        ResNet18(84, "native", stem=5)
    assert str(caught.value) == "BACKBONE.ARGS.stem is 5, which is not one of: 3, 7."


def test_residual_equals_the_papers_order_of_layers():
    block = trained(Residual(3, 6, nn.Identity(), "running"), 8, 3, 9, 9)

    def normed(x, pair, padding):
        conv, norm = pair
        assert conv.bias is None
        x = F.conv2d(x, conv.weight, padding=padding)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    x = images(4, 9)
    out = F.leaky_relu(normed(x, block.body[0], 1), 0.1)
    out = F.leaky_relu(normed(out, block.body[2], 1), 0.1)
    out = normed(out, block.body[4], 1) + normed(x, block.shortcut, 0)
    expected = F.max_pool2d(F.leaky_relu(out, 0.1), 2)
    assert torch.allclose(block(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("width", "stride"), [(3, 1), (6, 2)])
def test_basic_block_equals_the_papers_order_of_layers(width, stride):
    block = trained(BasicBlock(3, width, stride, nn.Identity(), "running"), 8, 3, 9, 9)

    def normed(x, pair, padding, stride=1):
        conv, norm = pair
        assert conv.bias is None
        x = F.conv2d(x, conv.weight, padding=padding, stride=stride)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    x = images(4, 9)
    out = normed(F.relu(normed(x, block.body[0], 1, stride)), block.body[2], 1)
    shortcut = x if width == 3 else normed(x, block.shortcut, 0, stride)
    assert torch.allclose(block(x), F.relu(out + shortcut), rtol=0, atol=1e-5)


def test_resnet18_weights_load_from_the_layout_of_torchvision():
    theirs = torchvision.models.resnet18().eval()
    ours = ResNet18(64, "native").eval()
    values = [value for name, value in theirs.state_dict().items() if not name.startswith("fc.")]
    names = [name for name in ours.state_dict() if not name.endswith("calls")]
    ours.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    theirs.fc = nn.Identity()
    x = images(2, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)["vector"], theirs(x), rtol=1e-4, atol=1e-4)


def test_resnet18_drops_after_every_block():
    drops = [block.tail[1] for block in ResNet18(32, "native", drop_rate=0.2, drop_size=3).layers[3:]]
    assert [type(drop).__name__ for drop in drops] == ["Dropout"] * 4 + ["DropBlock"] * 4
    assert {(drop.p, drop.size, drop.ramp) for drop in drops[4:]} == {(0.2, 3, 40000)}


def test_resnet12_drops_elements_then_squares():
    drops = [block.tail[2] for block in ResNet12(32, "native", drop_rate=0.1, drop_size=2, drop_ramp=7).blocks]
    assert [type(drop).__name__ for drop in drops] == ["Dropout", "Dropout", "DropBlock", "DropBlock"]
    assert [drop.p for drop in drops[:2]] == [0.1, 0.1]
    assert [(drop.p, drop.size, drop.ramp) for drop in drops[2:]] == [(0.1, 2, 7)] * 2
