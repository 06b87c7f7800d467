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
from .weight_names import LAYOUTS, Pairs

# Keys under which a file holds its state dict: of FEAT and DeepEMD, RFS, M2L, CloserLook and DeepBDC, MetaOptNet, and
# of many more projects, OpenMMLab's (beside `meta`) among them.
WRAPPERS = ("params", "model", "fsl", "state", "embedding", "state_dict")
# Prefixes of the backbone's names, in any order and number.
PREFIX = re.compile(r"^(?:(?:module|encoder|backbone|feature_extractor|feature)\.)+")
ENTRIES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

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
        ours = content["method"]
        if not all(isinstance(name, str) and checkpoint.is_weight(value) for name, value in ours.items()):
            raise UserError(f"{path} is not a checkpoint of FiveWay: its 'method' holds what are no weights.")
        return load_matching(
            backbone, {n.removeprefix("backbone."): v for n, v in ours.items() if n.startswith("backbone.")}, str(path)
        )
    return _take_foreign(backbone, unwrapped(content), path)


def _take_foreign(backbone: Backbone, state: dict[str, Tensor], path: Path) -> str:
    """Load a state dict that another project named (core/engine/weight_names.py)."""
    short = {PREFIX.sub("", name): value for name, value in state.items()}
    layout, renamed = _nearest_layout(short, backbone)
    if renamed:
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


def unwrapped(content: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a dict, or of the one that lies in it under a usual key."""
    for key in WRAPPERS:
        if isinstance(content.get(key), dict):
            return unwrapped(content[key])
    return {name: value for name, value in content.items() if isinstance(name, str) and checkpoint.is_weight(value)}


def _nearest_layout(state: dict[str, Tensor], backbone: Backbone) -> tuple[str, dict[str, Tensor]]:
    """The layout with as many pairs as the backbone that names most entries, and these under our names; {} = none."""
    ours = [name for name, module in backbone.named_modules() if isinstance(module, ConvBN)]
    fitting = {layout: pairs for layout, pairs in LAYOUTS.items() if len(pairs) == len(ours)}
    renamed = {layout: _under_our_names(state, ours, pairs) for layout, pairs in fitting.items()}
    return max(renamed.items(), key=lambda item: len(item[1]), default=("", {}))


def _under_our_names(state: dict[str, Tensor], ours: list[str], theirs: Pairs) -> dict[str, Tensor]:
    """The entries of a layout's pairs, under the names of our pairs."""
    return {
        f"{our_name}.{place}.{entry}": state[f"{name}.{entry}"]
        for our_name, pair in zip(ours, theirs, strict=True)
        for place, name in enumerate(pair)
        for entry in ENTRIES
        if f"{name}.{entry}" in state
    }


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
