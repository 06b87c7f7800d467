"""ResNet-12 of TADAM: sizes, initial weights, and a block in the order of the paper, conditioned or not."""

import pytest
import torch
import torch.nn.functional as F

from core.backbones.resnet12t import ResNet12T, SwishResidual
from core.errors import UserError
from tests.backbones.networks import conv_bn, images, trained


@pytest.mark.parametrize(("size", "pools", "side"), [(84, 3, 11), (84, 4, 6), (32, 3, 4), (16, 0, 16), (15, 3, 2)])
def test_sizes(size, pools, side):
    backbone = ResNet12T(size, "native", width=4, pools=pools).eval()
    with torch.no_grad():
        features = backbone(images(2, size))
    assert features["map"].shape == (2, 32, side, side)
    assert (backbone.channels, backbone.map_size, backbone.vector_dim) == (32, side, 32)
    assert torch.equal(features["vector"], features["map"].mean((2, 3)))


def test_parameters_and_initial_weights():
    backbone = ResNet12T(84, "native")
    assert sum(p.numel() for p in backbone.parameters()) == 7_996_800
    for convolution, outputs in ((backbone.blocks[3].body[0][0], 512 * 9), (backbone.blocks[3].shortcut[0], 512)):
        assert convolution.weight.var().item() == pytest.approx(0.2 / outputs, rel=0.02)
    assert backbone.blocks[0].body[0][0].weight.std().item() == pytest.approx(0.0186, rel=0.05)
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.05)}
    assert backbone.film_widths == (64,) * 3 + (128,) * 3 + (256,) * 3 + (512,) * 3


def test_wrong_pools_and_small_images_are_a_sentence():
    with pytest.raises(UserError, match=r"^BACKBONE\.ARGS\.pools is 5, which is not one of: 0, 1, 2, 3, 4\.$"):
        ResNet12T(32, "native", pools=5)
    with pytest.raises(UserError, match=r"^DATASET\.SIZE is 7, but BACKBONE\.NAME ResNet12T halves the image 3 times"):
        ResNet12T(7, "native")


@pytest.mark.parametrize("conditioned", [False, True])
def test_a_block_in_the_papers_order(conditioned):
    block = trained(SwishResidual(3, 6, True, "running"), 8, 3, 9, 9)
    x = images(4, 9)
    film = [(torch.randn(4, 6), torch.randn(4, 6)) for _ in range(3)]

    out = x
    for number in range(3):
        out = conv_bn(out, block.body[number], 1)
        if conditioned:
            gain, offset = film[number]
            out = gain[:, :, None, None] * out + offset[:, :, None, None]
        if number < 2:
            out = out * torch.sigmoid(out)
    out = out + conv_bn(x, block.shortcut, 0)
    expected = F.max_pool2d(F.pad(out * torch.sigmoid(out), (0, 1, 0, 1), value=-1e9), 2)
    output = block(x, film if conditioned else None)
    assert output.shape[-1] == 5
    assert torch.allclose(output, expected, rtol=0, atol=1e-5)
