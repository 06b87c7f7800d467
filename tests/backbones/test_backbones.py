"""Backbones: sizes from the papers, and that every shortcut computes what it stands for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import ConvBN, fold, size_after_pools
from core.backbones.conv4 import Conv4
from core.backbones.four_layer import FourLayer64F, FourLayer64F4x
from core.backbones.resnet12 import Residual, ResNet12
from core.errors import UserError

BOTH = pytest.mark.parametrize("network", [Conv4, ResNet12])


def images(n, size, seed=0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def trained(module, *shape, calls=3):
    """Random affine parameters, and running statistics from a few training calls."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.3)
    module.train()
    with torch.no_grad():
        for _ in range(calls):
            module(torch.randn(*shape) * 2 + 1)
    return module.eval()


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda: Conv4(84, "native"), 113_088),
        (lambda: Conv4(32, "native", width=32), 28_896),
        (lambda: ResNet12(84, "native"), 12_424_320),
        (lambda: FourLayer64F(84, "native"), 112_704),
        (lambda: FourLayer64F4x(84, "native"), 112_832),
    ],
    ids=["Conv4-64", "Conv4-32", "ResNet12", "FourLayer_64F", "FourLayer_64F_4x"],
)
def test_parameter_count(build, count):
    assert sum(p.numel() for p in build().parameters()) == count


@pytest.mark.parametrize(
    ("network", "size", "channels", "side"),
    [
        (Conv4, 32, 64, 2),
        (Conv4, 84, 64, 5),
        (ResNet12, 32, 640, 2),
        (ResNet12, 84, 640, 5),
        (FourLayer64F, 32, 64, 6),
        (FourLayer64F, 84, 64, 19),
        (FourLayer64F4x, 32, 64, 2),
        (FourLayer64F4x, 84, 64, 5),
    ],
)
@pytest.mark.parametrize("vector", ["flatten", "mean", "native"])
def test_feature_sizes(network, size, channels, side, vector):
    backbone = network(size, vector).eval()
    with torch.no_grad():
        found = backbone(images(2, size))
    maps = found["map"]
    assert maps.shape == (2, channels, side, side)
    assert (backbone.channels, backbone.map_size) == (channels, side)
    flattened = (network.native_vector if vector == "native" else vector) == "flatten"
    assert torch.equal(found["vector"], maps.flatten(1) if flattened else maps.mean((2, 3)))
    assert found["vector"].shape == (2, backbone.vector_dim)
    assert backbone.vector_dim == (channels * side**2 if flattened else channels)


def test_native_vectors():
    assert (Conv4.native_vector, ResNet12.native_vector) == ("flatten", "mean")


@BOTH
def test_too_small_an_image_is_one_sentence(network):
    with pytest.raises(UserError) as caught:
        network(15, "native")
    assert str(caught.value) == (
        f"DATASET.SIZE is 15, but BACKBONE.NAME {network.__name__} halves the image 4 times and needs "
        "16 pixels or more."
    )
    assert size_after_pools(16, 4, "any") == 1


def test_too_small_an_image_for_a_four_layer_network():
    with pytest.raises(UserError, match=r"^DATASET\.SIZE is 11, but BACKBONE\.NAME FourLayer_64F needs 12 pixels"):
        FourLayer64F(11, "native")
    assert FourLayer64F(12, "native").map_size == 1
    with pytest.raises(UserError, match=r"^DATASET\.SIZE is 15, but BACKBONE\.NAME FourLayer_64F_4x halves"):
        FourLayer64F4x(15, "native")


@BOTH
def test_unknown_norm_is_one_sentence(network):
    with pytest.raises(UserError) as caught:
        network(32, "native", norm="layer")
    assert str(caught.value) == "BACKBONE.ARGS.norm is 'layer', which is not one of: running, batch."


def test_norm_batch_keeps_no_statistics():
    backbone = Conv4(16, "native", width=4, norm="batch")
    assert not list(backbone.buffers())
    one, two = images(6, 16), images(6, 16, seed=1)
    with torch.no_grad():
        before = backbone.eval()(one)["vector"]
        backbone.train()(two)
        assert torch.equal(backbone.train()(one)["vector"], before)
        assert torch.equal(backbone.eval()(one)["vector"], before)
        assert not torch.allclose(backbone(torch.cat([one, two]))["vector"][:6], before, atol=1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_fold_equals_the_evaluation_forward(bias):
    block = trained(ConvBN(3, 5, 3, bias=bias, norm="running"), 8, 3, 9, 9)
    x = images(4, 9)
    folded = fold(block)
    assert isinstance(folded[1], nn.Identity)
    assert torch.allclose(folded(x), block(x), rtol=0, atol=1e-5)


@BOTH
def test_fold_of_a_network(network):
    backbone = trained(network(16, "native"), 4, 3, 16, 16).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    folded = fold(backbone)
    assert backbone.training
    assert not folded.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    with torch.no_grad():
        found, expected = folded(images(3, 16))["vector"], backbone.eval()(images(3, 16))["vector"]
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_fold_leaves_batch_statistics_alone():
    backbone = Conv4(16, "native", width=4, norm="batch")
    folded = fold(backbone)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 4
    with torch.no_grad():
        assert torch.equal(folded(images(3, 16))["map"], backbone(images(3, 16))["map"])


@pytest.mark.parametrize("size", [32, 42])
def test_conv4_equals_the_papers_order_of_layers(size):
    backbone = trained(Conv4(size, "native", width=8), 8, 3, size, size)
    x = images(3, size)
    for block in backbone.layers[::3]:
        conv, norm = block
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        x = F.max_pool2d(F.relu(x), 2)
    assert torch.allclose(backbone(images(3, size))["map"], x, rtol=0, atol=1e-5)


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


def test_resnet12_drops_elements_then_squares():
    drops = [block.tail[2] for block in ResNet12(32, "native", drop_rate=0.1, drop_size=2, drop_ramp=7).blocks]
    assert [type(drop).__name__ for drop in drops] == ["Dropout", "Dropout", "DropBlock", "DropBlock"]
    assert [drop.p for drop in drops[:2]] == [0.1, 0.1]
    assert [(drop.rate, drop.size, drop.ramp) for drop in drops[2:]] == [(0.1, 2, 7)] * 2
