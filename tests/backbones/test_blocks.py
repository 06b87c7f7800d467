"""The parts that backbones share: batch-norm of both kinds, folding, and convolutions that a task conditions."""

import pytest
import torch
from torch import nn

from core.backbones.blocks import ConvBN, fold, size_after_pools
from core.backbones.conv4 import Conv4
from core.backbones.resnet12 import ResNet12
from core.backbones.resnet12t import ResNet12T
from core.backbones.resnet18 import ResNet18
from core.errors import UserError
from tests.backbones.networks import images, trained

ALL = pytest.mark.parametrize("network", [Conv4, ResNet12, ResNet18])


@ALL
def test_unknown_norm_is_one_sentence(network):
    with pytest.raises(UserError) as caught:
        network(32, "native", norm="layer")
    assert str(caught.value) == "BACKBONE.ARGS.norm is 'layer', which is not one of: running, batch."


@pytest.mark.parametrize("bias", [True, False])
def test_fold_equals_the_evaluation_forward(bias):
    block = trained(ConvBN(3, 5, 3, bias=bias, norm="running"), 8, 3, 9, 9)
    x = images(4, 9)
    folded = fold(block)
    assert isinstance(folded[1], nn.Identity)
    assert torch.allclose(folded(x), block(x), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("narrow")
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
        vectors, expected = folded(images(3, 16))["vector"], backbone.eval()(images(3, 16))["vector"]
    assert torch.allclose(vectors, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_fold_leaves_batch_statistics_alone():
    backbone = Conv4(16, "native", width=4, norm="batch")
    folded = fold(backbone)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 4
    with torch.no_grad():
        assert torch.equal(folded(images(3, 16))["map"], backbone(images(3, 16))["map"])


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


def test_an_image_may_become_one_pixel_but_not_none():
    assert size_after_pools(16, 4, "any") == 1
    with pytest.raises(UserError, match="needs 16 pixels or more"):
        size_after_pools(15, 4, "any")
