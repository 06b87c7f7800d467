"""ResNet-18: its sizes and its blocks, dropping, and weights in the layout of torchvision."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from core.backbones.resnet18 import BasicBlock, ResNet18
from core.errors import UserError
from tests.backbones.networks import conv_bn, images, parameters, trained


@pytest.mark.parametrize(("size", "arguments", "count"), [(224, {}, 11_176_512), (84, {"stem": 3}, 11_168_832)])
def test_parameter_count(size, arguments, count):
    backbone = ResNet18(size, "native", **arguments)
    assert parameters(backbone) == count
    assert backbone.channels == 512
    assert backbone.native_vector == "mean"


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("stem", "size", "side"), [(7, 224, 7), (7, 84, 3), (7, 33, 2), (3, 84, 11), (3, 32, 4), (3, 33, 5)]
)
def test_sizes(stem, size, side):
    backbone = ResNet18(size, "native", stem=stem).eval()
    with torch.no_grad():
        features = backbone(images(2, size))
    assert features["map"].shape == (2, 32, side, side)
    assert backbone.map_size == side
    assert features["vector"].shape == (2, backbone.vector_dim) == (2, 32)


def test_there_are_two_stems():
    with pytest.raises(UserError) as caught:
        ResNet18(84, "native", stem=5)
    assert str(caught.value) == "BACKBONE.ARGS.stem is 5, which is not one of: 3, 7."


@pytest.mark.parametrize(("width", "stride"), [(3, 1), (6, 2)])
def test_basic_block_equals_the_papers_order_of_layers(width, stride):
    block = trained(BasicBlock(3, width, stride, nn.Identity(), "running"), 8, 3, 9, 9)
    x = images(4, 9)
    out = conv_bn(F.relu(conv_bn(x, block.body[0], 1, stride)), block.body[2], 1)
    shortcut = x if width == 3 else conv_bn(x, block.shortcut, 0, stride)
    assert torch.allclose(block(x), F.relu(out + shortcut), rtol=0, atol=1e-5)


def test_weights_load_from_the_layout_of_torchvision():
    published = torchvision.models.resnet18().eval()
    backbone = ResNet18(64, "native").eval()
    values = [value for name, value in published.state_dict().items() if not name.startswith("fc.")]
    names = [name for name in backbone.state_dict() if not name.endswith("calls")]
    backbone.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    published.fc = nn.Identity()
    x = images(2, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x)["vector"], published(x), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("narrow")
def test_drops_after_every_block():
    drops = [block.tail[1] for block in ResNet18(32, "native", drop_rate=0.2, drop_size=3).layers[3:]]
    assert [type(drop).__name__ for drop in drops] == ["Dropout"] * 4 + ["DropBlock"] * 4
    assert {(drop.p, drop.size, drop.ramp) for drop in drops[4:]} == {(0.2, 3, 40000)}
