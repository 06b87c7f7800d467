"""State dicts with the names that other projects use, made here, against their networks written out plainly."""

import argparse

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.conv4 import Conv4
from core.backbones.resnet12 import WIDTHS, ResNet12
from core.engine.weights import take_weights
from core.errors import UserError


class Block(nn.Module):
    """A block of MetaOptNet's ResNet-12."""

    def __init__(self, inputs, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        out = F.leaky_relu(self.bn1(self.conv1(x)), 0.1)
        out = F.leaky_relu(self.bn2(self.conv2(out)), 0.1)
        out = self.bn3(self.conv3(out)) + self.downsample(x)
        return F.max_pool2d(F.leaky_relu(out, 0.1), 2)


class TheirResNet12(nn.Module):
    def __init__(self, widths=WIDTHS):
        super().__init__()
        for i, (inputs, width) in enumerate(zip((3, *widths), widths, strict=False)):
            setattr(self, f"layer{i + 1}", nn.Sequential(Block(inputs, width)))

    def forward(self, x):
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def conv_block(inputs, width, bias=True):
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)
    )


class CloserLookBlock(nn.Module):
    """Its layers are there twice: by name, and in a sequence."""

    def __init__(self, inputs, width):
        super().__init__()
        self.C, self.BN = nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width)
        self.trunk = nn.Sequential(self.C, self.BN, nn.ReLU(), nn.MaxPool2d(2))

    def forward(self, x):
        return self.trunk(x)


def conv4(layout, bias=True):
    if layout == "trunk":
        return nn.Sequential(*(CloserLookBlock(i, 8) for i in (3, 8, 8, 8)))
    blocks = [conv_block(i, 8, bias) for i in (3, 8, 8, 8)]
    named = {f"layer{i + 1}": block for i, block in enumerate(blocks)}
    return nn.Sequential(*blocks) if layout == "sequence" else nn.ModuleDict(named)


@pytest.fixture
def theirs():
    """A network with statistics and affine parameters of its own."""

    def make(build):
        torch.manual_seed(3)
        network = build()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias)
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
        return network.eval()

    return make


def prefixed(network, prefix):
    return {prefix + name: value for name, value in network.state_dict().items()}


FC = {"fc.weight": torch.zeros(64, 640), "fc.bias": torch.zeros(64)}
PUBLISHED = {
    "FEAT": lambda n: {"params": prefixed(n, "encoder.") | {"slf_attn.fc.weight": torch.zeros(2, 2)}},
    "FEAT on several GPUs": lambda n: {"params": prefixed(n, "encoder.module.") | FC, "epoch": 3},
    "FEAT's training state": lambda n: {"state_dict": prefixed(n, "encoder."), "args": argparse.Namespace(lr=0.1)},
    "DeepEMD": lambda n: {"params": prefixed(n, "module.encoder.") | FC},
    "DeepEMD pretrained": lambda n: {"params": prefixed(n, "")},
    "M2L": lambda n: {"fsl": prefixed(n, "encoder."), "epoch": 3, "episode": 0, "summary_dir": "summary"},
    "RFS": lambda n: {
        "opt": argparse.Namespace(lr=0.05),
        "model": prefixed(n, "") | {"classifier.weight": FC["fc.weight"]},
    },
    "DeepBDC": lambda n: {"state": prefixed(n, "feature."), "epoch": 169},
    "bare": lambda n: prefixed(n, "module."),
}


@pytest.mark.parametrize("layout", PUBLISHED)
def test_resnet12_computes_what_theirs_does(layout, theirs, tmp_path):
    network, file = theirs(TheirResNet12), tmp_path / "theirs.pth"
    content = PUBLISHED[layout](network)
    torch.save(content, file)
    ours = ResNet12(32, "native")
    line = take_weights(ours, file)
    state = next((v for k, v in content.items() if k in ("params", "model", "fsl", "state", "state_dict")), content)
    others = len(state) - 4 * 4 * 6
    assert (
        line == f"{file} (MetaOptNet's ResNet-12): 96 matched, 2 missing counters stay 0, {others} not of the backbone"
    )
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images)["map"], network(images), rtol=1e-5, atol=1e-5)


def test_torchs_older_file_format_is_read(theirs, tmp_path):
    network, file = theirs(TheirResNet12), tmp_path / "ebest_5way_1shot.pth"
    torch.save({"fsl": prefixed(network, "encoder.")}, file, _use_new_zipfile_serialization=False)
    ours = ResNet12(32, "native")
    assert "96 matched" in take_weights(ours, file)
    assert torch.equal(ours.blocks[3].shortcut[0].weight, network.layer4[0].downsample[0].weight)


@pytest.mark.parametrize("pools", [4, 3])
@pytest.mark.parametrize(
    ("layout", "prefix", "name"),
    [
        ("layers", "module.encoder.", "Conv4 in layers"),
        ("sequence", "encoder.encoder.", "Conv4 in a sequence"),
        ("trunk", "feature.trunk.", "CloserLook's Conv4"),
    ],
)
def test_conv4_computes_what_theirs_does(layout, prefix, name, pools, theirs, tmp_path):
    network, file = theirs(lambda: conv4(layout)), tmp_path / "theirs.tar"
    torch.save({"state": prefixed(network, prefix)}, file)
    ours = Conv4(32, "native", width=8, pools=pools)
    assert take_weights(ours, file).startswith(f"{file} ({name}): 28 matched, ")
    x = images = torch.randn(2, 3, 32, 32)
    blocks = network.values() if layout == "layers" else network
    with torch.no_grad():
        for number, block in enumerate(blocks):
            layers = block.trunk if layout == "trunk" else block
            x = layers(x) if number < pools else layers[:3](x)
        torch.testing.assert_close(ours.eval()(images)["map"], x, rtol=1e-5, atol=1e-5)


def test_a_convolution_without_bias_gets_zeros(theirs, tmp_path):
    network, file = theirs(lambda: conv4("sequence", bias=False)), tmp_path / "theirs.pth"
    torch.save(prefixed(network, "encoder."), file)
    ours = Conv4(32, "native", width=8)
    assert "24 matched" in take_weights(ours, file)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images)["map"], network(images), rtol=1e-5, atol=1e-5)


def refusal(backbone, content, file):
    torch.save(content, file)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(UserError) as caught:
        take_weights(backbone, file)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_one_sentence(theirs, tmp_path):
    file = tmp_path / "theirs.pth"
    narrow = theirs(lambda: TheirResNet12((64, 128, 256, 512)))
    told = refusal(ResNet12(32, "native"), {"params": prefixed(narrow, "encoder.")}, file)
    assert told.startswith(
        f"{file} has the names of MetaOptNet's ResNet-12, but blocks.1.body.0.0.weight is [128, 64, 3, 3]"
    )
    half = {name: value for name, value in prefixed(theirs(TheirResNet12), "").items() if "layer4" not in name}
    assert "but lacks 20 of its entries, such as blocks.3.body.0.0.weight; " in refusal(
        ResNet12(32, "native"), half, file
    )
    told = refusal(Conv4(32, "native"), {"params": prefixed(narrow, "encoder.")}, file)
    assert told.startswith(
        f"{file} does not fit BACKBONE.NAME Conv4 in any layout known here: it has names like encoder."
    )
    assert "it has no tensors" in refusal(Conv4(32, "native"), {"epoch": 3}, file)
    assert "holds a list" in refusal(Conv4(32, "native"), [torch.zeros(3)], file)
    told = refusal(Conv4(32, "native", width=8, norm="batch"), prefixed(theirs(lambda: conv4("sequence")), ""), file)
    assert "this BACKBONE has no layers.0.1.running_mean" in told


def test_code_in_a_file_is_not_run(tmp_path):
    file = tmp_path / "theirs.pth"
    torch.save({"model": {}, "hook": Runs(tmp_path / "ran")}, file)
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        take_weights(Conv4(32, "native"), file)
    assert not (tmp_path / "ran").exists()


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))
