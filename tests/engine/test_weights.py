"""State dicts with the names that other projects use, made here, against their networks written out plainly."""

import argparse
import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.conv4 import Conv4
from core.backbones.resnet10 import ResNet10
from core.backbones.resnet12 import WIDTHS, ResNet12
from core.backbones.resnet18 import ResNet18
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


def renamed(network, *pairs):
    """A network's state with parts of its names replaced, as another project calls them."""
    state = network.state_dict()
    for old, new in pairs:
        state = {re.sub(old, new, name): value for name, value in state.items()}
    return state


R12 = {
    "mmfewshot's ResNet-12": (r"\.bn([123])", r".norm\1"),
    "NegMargin's ResNet-12": (r"\.(?:(conv)|bn)([123])", lambda m: f".{'C' if m[1] else 'BN'}{m[2]}"),
}


@pytest.mark.parametrize("layout", R12)
def test_other_names_of_resnet12(layout, theirs, tmp_path):
    network, file = theirs(TheirResNet12), tmp_path / "theirs.pth"
    state = {f"backbone.{name}": value for name, value in renamed(network, R12[layout]).items()}
    meta = {"mmcls_version": "0.15", "config": "model = dict()", "CLASSES": ["a"], "best_score": np.float64(61.7)}
    torch.save({"meta": meta, "state_dict": state | {"head.fc.weight": torch.zeros(64, 640)}}, file)
    ours = ResNet12(32, "native")
    assert take_weights(ours, file).startswith(f"{file} ({layout}): 96 matched, ")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images)["map"], network(images), rtol=1e-5, atol=1e-5)


CONV4 = {
    "mmfewshot's Conv4": ("state_dict", r"^(\d)", r"backbone.layers.\1.layers"),
    "FRN's Conv4": ("", r"^(\d)", lambda m: f"feature_extractor.layers.{3 * int(m[1])}.layers"),
    "MetaOptNet's Conv4": ("embedding", r"^(\d)", r"encoder.\1.block"),
}


@pytest.mark.parametrize("layout", CONV4)
def test_other_names_of_conv4(layout, theirs, tmp_path):
    wrapper, old, new = CONV4[layout]
    network, file = theirs(lambda: conv4("sequence", bias=wrapper != "embedding")), tmp_path / "theirs.pth"
    state = renamed(network, (old, new))
    torch.save({wrapper: state, "meta": {}, "head": {"scale": torch.ones(1)}} if wrapper else state, file)
    ours = Conv4(32, "native", width=8)
    assert f"({layout}): {24 if wrapper == 'embedding' else 28} matched" in take_weights(ours, file)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images)["map"], network(images), rtol=1e-5, atol=1e-5)


class BasicBlock(nn.Module):
    """A basic block with the names of CloserLook's or of torchvision's."""

    def __init__(self, inputs, width, stride, capital):
        super().__init__()
        self.names = ("C1", "BN1", "C2", "BN2") if capital else ("conv1", "bn1", "conv2", "bn2")
        convs = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.Conv2d(width, width, 3, 1, 1, bias=False)
        for name, module in zip(
            self.names, (convs[0], nn.BatchNorm2d(width), convs[1], nn.BatchNorm2d(width)), strict=True
        ):
            setattr(self, name, module)
        short = [nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)] if inputs != width else []
        if short and capital:
            self.shortcut, self.BNshortcut = short
        elif short:
            self.downsample = nn.Sequential(*short)
        self.short = [short]  # not a module of its own

    def forward(self, x):
        c1, b1, c2, b2 = (getattr(self, name) for name in self.names)
        y = b2(c2(F.relu(b1(c1(x)))))
        for module in self.short[0]:
            x = module(x)
        return F.relu(x + y)


class TheirResNet(nn.Module):
    """ResNet-18 or -10 of torchvision ("tv"), CloserLook and Hariharan ("trunk") or NegMargin ("both")."""

    def __init__(self, names, each=2):
        super().__init__()
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)]
        widths = [width for width in (64, 128, 256, 512) for _ in range(each)]
        blocks, inputs = [], 64
        for width in widths:
            blocks.append(BasicBlock(inputs, width, 1 if inputs == width else 2, names != "tv"))
            inputs = width
        pooled = [*stem, nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.parts = [[*pooled, *blocks]]  # not modules of their own
        if names == "trunk":
            self.trunk = nn.Sequential(*pooled, *blocks, nn.AvgPool2d(7), nn.Flatten())
            return
        if names == "both":
            self.trunk = nn.Sequential(*pooled)
        else:
            self.conv1, self.bn1 = stem
        for stage in range(4):
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks[each * stage : each * (stage + 1)]))

    def forward(self, x):
        for part in self.parts[0]:
            x = part(x)
        return x


RESNETS = {
    "torchvision's ResNet-18": ("tv", "", 120),
    "CloserLook's ResNet-18": ("trunk", "feature.", 120),
    "NegMargin's ResNet-18": ("both", "module.feature.", 120),
}


@pytest.mark.parametrize("layout", RESNETS)
def test_resnet18_computes_what_theirs_does(layout, theirs, tmp_path):
    names, prefix, matched = RESNETS[layout]
    network, file = theirs(lambda: TheirResNet(names)), tmp_path / "theirs.tar"
    torch.save({"state": prefixed(network, prefix) | FC}, file)
    ours = ResNet18(64, "native")
    assert take_weights(ours, file).startswith(f"{file} ({layout}): {matched} matched, ")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images)["map"], network(images), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match=r"but layers.0.0.weight is \[64, 3, 7, 7\] there and \[64, 3, 3, 3\]"):
        take_weights(ResNet18(64, "native", stem=3), file)


def test_resnet10_computes_what_hariharans_does(theirs, tmp_path):
    network, file = theirs(lambda: TheirResNet("trunk", each=1)), tmp_path / "theirs.tar"
    torch.save({"state": prefixed(network, "module.") | {"module.classifier.weight": FC["fc.weight"]}}, file)
    ours = ResNet10(64, "native")
    assert take_weights(ours, file).startswith(f"{file} (Hariharan's ResNet-10): 72 matched, ")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images)["map"], network(images), rtol=1e-4, atol=1e-4)


def test_half_of_a_foreign_network_is_called_by_its_nearest_layout(theirs, tmp_path):
    state = renamed(theirs(TheirResNet12), R12["NegMargin's ResNet-12"])
    half = {name: value for name, value in state.items() if "layer4" not in name}
    told = refusal(ResNet12(32, "native"), half, tmp_path / "theirs.pth")
    assert "has the names of NegMargin's ResNet-12, but lacks 20 of its entries" in told


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


@pytest.mark.parametrize("odd", [None, torch.ones(2).to_sparse(), torch.ones(8, 3, 3, 3).to(torch.complex64)])
def test_our_checkpoint_without_weights_is_refused(odd, tmp_path):
    backbone = Conv4(32, "native", width=8)
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    content = {"method": state | {next(iter(state)): odd}, "meta": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remarks on sparse tensors
        told = refusal(backbone, content, tmp_path / "ours.pth")
    assert "its 'method' holds what are no weights" in told
