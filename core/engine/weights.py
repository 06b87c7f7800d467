"""Weights that a backbone starts from: FiveWay's checkpoints, and the state dicts that other projects publish.

Only weights are taken over. They may have been trained on pixels that were normalised with a different mean and
deviation than those of our data set.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.blocks import Backbone, ConvBN
from ..errors import UserError
from ..methods.base import load_matching
from . import checkpoint

# Keys under which a file holds its state dict: of FEAT and DeepEMD, RFS and MetaOptNet, M2L, CloserLook and DeepBDC,
# and of many more projects.
WRAPPERS = ("params", "model", "fsl", "state", "state_dict")
# Prefixes of the backbone's names, in any order and number.
PREFIX = re.compile(r"^(?:(?:module|encoder|backbone|feature_extractor|feature)\.)+")
ENTRY = r"(?P<entry>weight|bias|running_mean|running_var|num_batches_tracked)"
# How projects name the four blocks: pairs of convolution and batch-norm in a block, and patterns of the names.
# The shortcut of a ResNet-12 is the last pair of its block.
LAYOUTS: dict[str, tuple[int, list[str]]] = {
    "MetaOptNet's ResNet-12": (
        4,
        [
            rf"layer(?P<block>[1-4])\.0\.(?P<part>conv|bn)(?P<pair>[123])\.{ENTRY}",
            rf"layer(?P<block>[1-4])\.0\.downsample\.(?P<part>[01])\.{ENTRY}",
        ],
    ),
    "Conv4 in layers": (1, [rf"layer(?P<block>[1-4])\.(?P<part>[01])\.{ENTRY}"]),
    "Conv4 in a sequence": (1, [rf"(?P<from_zero>[0-3])\.(?P<part>[01])\.{ENTRY}"]),
    "CloserLook's Conv4": (1, [rf"trunk\.(?P<from_zero>[0-3])\.(?P<part>C|BN)\.{ENTRY}"]),
}
CONVOLUTION = ("conv", "0", "C")
COUNTERS = ("num_batches_tracked", "calls")


def take_weights(backbone: Backbone, path: Path) -> str:
    """Load a backbone's weights from a file, and say what matched.

    Raises:
        UserError: where the file cannot be read, or fits in no layout.
    """
    content = checkpoint.read(path, foreign=True)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, but a state dict is needed; save that.")
    if isinstance(content.get("method"), dict) and "meta" in content:
        ours = content["method"].items()
        return load_matching(
            backbone, {n.removeprefix("backbone."): v for n, v in ours if n.startswith("backbone.")}, str(path)
        )
    return _take_foreign(backbone, _unwrapped(content), path)


def _take_foreign(backbone: Backbone, state: dict[str, Tensor], path: Path) -> str:
    """Load a state dict that another project named."""
    short = {PREFIX.sub("", name): value for name, value in state.items()}
    for layout, (pairs, patterns) in LAYOUTS.items():
        renamed = _under_our_names(short, backbone, pairs, patterns)
        if not renamed:
            continue
        matched = len(renamed)
        absent = _complete(renamed, backbone, f"{path} has the names of {layout}")
        backbone.load_state_dict(backbone.state_dict() | renamed)
        counters = f", {absent} missing counters stay 0" if absent else ""
        return f"{path} ({layout}): {matched} matched{counters}, {len(state) - matched} not of the backbone"
    example = f"names like {next(iter(state))}" if state else "no tensors"
    raise UserError(
        f"{path} does not fit BACKBONE.NAME {type(backbone).__name__} in any layout known here: it has {example}; "
        "choose the backbone it was made for, or rename its entries."
    )


def _unwrapped(content: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a dict, or of the one that lies in it under a usual key."""
    for key in WRAPPERS:
        if isinstance(content.get(key), dict):
            return _unwrapped(content[key])
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _under_our_names(
    state: dict[str, Tensor], backbone: Backbone, pairs: int, patterns: list[str]
) -> dict[str, Tensor]:
    """The entries that match a pattern, under our names; none where the backbone's blocks have not `pairs` pairs."""
    our_pairs = [name for name, module in backbone.named_modules() if isinstance(module, ConvBN)]
    if len(our_pairs) != 4 * pairs:
        return {}
    renamed = {}
    for name, value in state.items():
        match = next(filter(None, (re.fullmatch(pattern, name) for pattern in patterns)), None)
        if match:
            groups = match.groupdict()
            block = int(groups["from_zero"]) if "from_zero" in groups else int(groups["block"]) - 1
            pair = int(groups.get("pair", pairs)) - 1
            place = 0 if groups["part"] in CONVOLUTION else 1
            renamed[f"{our_pairs[block * pairs + pair]}.{place}.{groups['entry']}"] = value
    return renamed


def _complete(renamed: dict[str, Tensor], backbone: Backbone, subject: str) -> int:
    """Add zeros for absent biases and refuse wrong shapes and missing weights; returns how many counters are absent.

    A convolution without a bias is the same function as one whose bias is 0.
    """
    expected = backbone.state_dict()
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            renamed.setdefault(f"{name}.bias", torch.zeros_like(module.bias))
    for name, value in renamed.items():
        if name not in expected:
            raise UserError(f"{subject}, but this BACKBONE has no {name}; choose the backbone it was made for.")
        if value.shape != expected[name].shape:
            raise UserError(
                f"{subject}, but {name} is {list(value.shape)} there and {list(expected[name].shape)} here; choose the "
                "backbone and the widths it was made for."
            )
    absent = [name for name in expected if name not in renamed]
    lost = [name for name in absent if not name.endswith(COUNTERS)]
    if lost:
        raise UserError(f"{subject}, but lacks {len(lost)} of its entries, such as {lost[0]}; give the whole file.")
    return len(absent)
