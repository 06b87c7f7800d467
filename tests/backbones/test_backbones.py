"""Backbones: sizes from the papers, and that every shortcut computes what it stands for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import ConvBN, fold, size_after_pools
from core.backbones.conv4 import Conv4
from core.backbones.features import Features
from core.backbones.four_layer import FourLayer64F, FourLayer64F4x
from core.backbones.resnet12 import ResNet12
from core.backbones.resnet18 import ResNet18
from core.errors import UserError

HALVING = pytest.mark.parametrize("network", [Conv4, ResNet12])
ALL = pytest.mark.parametrize("network", [Conv4, ResNet12, ResNet18])


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
        (lambda: Conv4(84, "native", widen=2), 260_928),
        (lambda: ResNet12(84, "native"), 12_424_320),
        (lambda: FourLayer64F(84, "native"), 112_704),
        (lambda: FourLayer64F4x(84, "native"), 112_832),
        (lambda: ResNet18(224, "native"), 11_176_512),
        (lambda: ResNet18(84, "native", stem=3), 11_168_832),
    ],
    ids=[
        "Conv4-64",
        "Conv4-32",
        "Conv4-64-64-128-128",
        "ResNet12",
        "FourLayer_64F",
        "FourLayer_64F_4x",
        "ResNet18",
        "ResNet18-3x3",
    ],
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
@pytest.mark.parametrize("vector", ["flatten", "max", "mean", "native"])
def test_feature_sizes(network, size, channels, side, vector):
    backbone = network(size, vector).eval()
    with torch.no_grad():
        found = backbone(images(2, size))
    maps = found["map"]
    assert maps.shape == (2, channels, side, side)
    assert (backbone.channels, backbone.map_size) == (channels, side)
    kind = network.native_vector if vector == "native" else vector
    flattened = kind == "flatten"
    expected = {"flatten": maps.flatten(1), "mean": maps.mean((2, 3)), "max": maps.flatten(2).max(2).values}[kind]
    assert torch.equal(found["vector"], expected)
    assert found["vector"].shape == (2, backbone.vector_dim)
    assert backbone.vector_dim == (channels * side**2 if flattened else channels)


def test_conv4_widened_and_without_its_last_relu():
    signed = Conv4(84, "native", width=4, widen=3, last_relu=False).eval()
    assert (signed.channels, signed.map_size, signed.vector_dim) == (12, 5, 300)
    plain = Conv4(84, "native", width=4, widen=3).eval()
    plain.load_state_dict(signed.state_dict())
    found, cut = signed(images(2, 84))["map"], plain(images(2, 84))["map"]
    assert (found < 0).any()
    assert torch.equal(found.relu(), cut)


@HALVING
def test_fewer_pools_leave_larger_maps(network):
    backbone = network(32, "native", pools=3).eval()
    with torch.no_grad():
        found = backbone(images(2, 32))["map"]
    assert found.shape == (2, backbone.channels, 4, 4)
    assert backbone.map_size == 4
    with pytest.raises(UserError, match=r"^BACKBONE\.ARGS\.pools is 5, but \w+ has four blocks; choose 0 to 4\.$"):
        network(32, "native", pools=5)


def test_native_vectors():
    assert (Conv4.native_vector, ResNet12.native_vector, ResNet18.native_vector) == ("flatten", "mean", "mean")


@HALVING
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


@ALL
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


@ALL
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


def test_stored_features_pass_unchanged():
    vectors = torch.randn(4, 7)
    backbone = Features(7, "native").eval()
    assert backbone.vector_dim == 7
    assert torch.equal(backbone(vectors)["vector"], vectors)
    wide = Features(7, "native", width=3, dropout=0.5).eval()
    linear = wide.layers[1]
    assert wide.vector_dim == 3
    assert torch.equal(wide(vectors)["vector"], F.linear(vectors, linear.weight, linear.bias))
    assert not torch.equal(wide.train()(vectors)["vector"], wide.eval()(vectors)["vector"])
