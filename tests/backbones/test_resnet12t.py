"""ResNet-12 of TADAM, and backbones whose convolutions a task conditions."""

import pytest
import torch
import torch.nn.functional as F

from core.backbones.blocks import fold
from core.backbones.conv4 import Conv4
from core.backbones.resnet12t import ResNet12T, SwishResidual
from core.errors import UserError
from tests.backbones.test_backbones import images, trained


@pytest.mark.parametrize(("size", "pools", "side"), [(84, 3, 11), (84, 4, 6), (32, 3, 4), (16, 0, 16), (15, 3, 2)])
def test_sizes(size, pools, side):
    backbone = ResNet12T(size, "native", width=4, pools=pools).eval()
    with torch.no_grad():
        found = backbone(images(2, size))
    assert found["map"].shape == (2, 32, side, side)
    assert (backbone.channels, backbone.map_size, backbone.vector_dim) == (32, side, 32)
    assert torch.equal(found["vector"], found["map"].mean((2, 3)))


def test_parameters_and_initial_weights():
    backbone = ResNet12T(84, "native")
    assert sum(p.numel() for p in backbone.parameters()) == 7_996_800
    weight = backbone.blocks[3].body[1][0].weight
    assert weight.var().item() == pytest.approx(0.2 / (512 * 9), rel=0.02)
    assert backbone.film_widths == (64,) * 3 + (128,) * 3 + (256,) * 3 + (512,) * 3


def test_wrong_pools_and_small_images_are_a_sentence():
    with pytest.raises(
        UserError, match=r"^BACKBONE\.ARGS\.pools is 5, but ResNet12T has four blocks; choose 0 to 4\.$"
    ):
        ResNet12T(32, "native", pools=5)
    with pytest.raises(UserError, match=r"^DATASET\.SIZE is 7, but BACKBONE\.NAME ResNet12T halves the image 3 times"):
        ResNet12T(7, "native")


@pytest.mark.parametrize("conditioned", [False, True])
def test_a_block_in_the_papers_order(conditioned):
    block = trained(SwishResidual(3, 6, True, "running"), 8, 3, 9, 9)
    x = images(4, 9)
    film = [(torch.randn(4, 6), torch.randn(4, 6)) for _ in range(3)]

    def normed(x, pair, padding):
        conv, norm = pair
        assert conv.bias is None
        x = F.conv2d(x, conv.weight, padding=padding)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    out = x
    for number in range(3):
        out = normed(out, block.body[number], 1)
        if conditioned:
            gain, offset = film[number]
            out = gain[:, :, None, None] * out + offset[:, :, None, None]
        if number < 2:
            out = out * torch.sigmoid(out)
    out = out + normed(x, block.shortcut, 0)
    expected = F.max_pool2d(F.pad(out * torch.sigmoid(out), (0, 1, 0, 1), value=-1e9), 2)
    found = block(x, film if conditioned else None)
    assert found.shape[-1] == 5
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", [Conv4, ResNet12T])
def test_film(network):
    backbone = trained(network(16, "native", width=4), 8, 3, 16, 16)
    x = images(6, 16)
    plain = [(torch.ones(6, width), torch.zeros(6, width)) for width in backbone.film_widths]
    torch.testing.assert_close(backbone(x, plain)["map"], backbone(x)["map"])
    drawn = [(torch.randn(6, width), torch.randn(6, width)) for width in backbone.film_widths]
    whole = backbone(x, drawn)["map"]
    assert not torch.allclose(whole, backbone(x)["map"], atol=1e-2)
    alone = torch.cat(
        [backbone(x[i : i + 1], [(g[i : i + 1], b[i : i + 1]) for g, b in drawn])["map"] for i in range(6)]
    )
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fold(backbone)(x, drawn)["map"], whole, rtol=1e-4, atol=1e-4)


def test_film_of_conv4_in_its_order():
    backbone = trained(Conv4(16, "native", width=4), 8, 3, 16, 16)
    x = images(3, 16)
    film = [(torch.randn(3, 4), torch.randn(3, 4)) for _ in range(4)]
    expected = x
    for (conv, norm), (gain, offset) in zip(backbone.layers[::3], film, strict=True):
        expected = norm(conv(expected)) * gain[..., None, None] + offset[..., None, None]
        expected = F.max_pool2d(F.relu(expected), 2)
    torch.testing.assert_close(backbone(x, film)["map"], expected, rtol=1e-4, atol=1e-5)
