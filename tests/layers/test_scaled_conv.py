"""Card 7: the scaled and shifted network beside the plain one."""

import copy

import pytest
import torch
from torch import nn

from core.backbones.blocks import fold
from core.backbones.conv4 import Conv4
from core.backbones.resnet12 import ResNet12
from core.layers.scaled_conv import ScaledConv, scale_convolutions
from tests.methods.small import drawn


@pytest.mark.parametrize("kind", [Conv4, ResNet12], ids=lambda kind: kind.__name__)
def test_card_7_without_scaling_it_is_the_pretrained_network(kind):
    torch.manual_seed(0)
    plain = kind(16, "native").eval()
    scaled, images = copy.deepcopy(plain), drawn(3, 3, 16, 16).float()
    scale_convolutions(scaled)
    assert torch.equal(scaled(images)["vector"], plain(images)["vector"])
    missing, unexpected = scaled.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {name.rsplit(".", 1)[1] for name in missing} <= {"scale", "shift"}


def test_scale_and_shift_act_on_kernels_and_outputs():
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1).double()
    scaled = ScaledConv(copy.deepcopy(conv)).double()
    with torch.no_grad():
        scaled.scale.copy_(drawn(3, 2, 1, 1, seed=1))
        scaled.shift.copy_(drawn(3, seed=2))
        for out in range(3):
            for channel in range(2):
                conv.weight[out, channel] *= scaled.scale[out, channel, 0, 0]
            conv.bias[out] += scaled.shift[out]
    images = drawn(2, 2, 7, 7)
    torch.testing.assert_close(scaled(images), conv(images), rtol=0, atol=1e-12)


def test_a_folded_network_keeps_its_scales():
    torch.manual_seed(0)
    network = Conv4(16, "native", width=4).eval()
    scale_convolutions(network)
    with torch.no_grad():
        for number, (name, p) in enumerate(network.named_parameters()):
            if name.endswith(("scale", "shift")):
                p.copy_(drawn(*p.shape, seed=number))
    images = drawn(3, 3, 16, 16).float()
    torch.testing.assert_close(fold(network)(images)["vector"], network(images)["vector"])


def test_card_7_resnet12_has_1616256_scales_and_its_batch_norms_learn():
    with torch.device("meta"):
        network = ResNet12(84, "native")
        scale_convolutions(network)
    learned = {name: p.numel() for name, p in network.named_parameters() if p.requires_grad}
    assert sum(number for name, number in learned.items() if name.endswith(".scale")) == 1_616_256
    norms = sum(2 * m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert sum(learned.values()) == 1_616_256 + norms
