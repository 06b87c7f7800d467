"""The names that other projects give to the convolutions and batch-norms of backbones.

A layout lists pairs (convolution, batch-norm) in the order of our own: body of a block first, then its shortcut. Names
are those that are left when prefixes such as `module.encoder.` are cut off (core/engine/weights.py).
"""

from __future__ import annotations

from collections.abc import Sequence

Pairs = list[tuple[str, str]]

STAGES = (1, 2, 3, 4)


def _conv4(conv: str, norm: str, places: Sequence[int] = (0, 1, 2, 3)) -> Pairs:
    """One pair for each of four blocks; `{}` stands for the block's number."""
    return [(conv.format(place), norm.format(place)) for place in places]


def _resnet12(conv: str, norm: str) -> Pairs:
    """Three convolutions a block, then the shortcut; `{}` stands for a convolution's number."""
    pairs = []
    for stage in STAGES:
        block = f"layer{stage}.0"
        pairs += [(f"{block}.{conv.format(n)}", f"{block}.{norm.format(n)}") for n in (1, 2, 3)]
        pairs.append((f"{block}.downsample.0", f"{block}.downsample.1"))
    return pairs


def _basic_blocks(stem: tuple[str, str], blocks: Sequence[str], each: int, capital: bool) -> Pairs:
    """The stem, then blocks of two convolutions; the first of every stage but the first has a shortcut.

    Args:
        stem: the first pair.
        blocks: names of all blocks.
        each: blocks of a stage.
        capital: whether layers are called C1, BN1, shortcut, BNshortcut, or conv1, bn1, downsample.
    """
    conv, norm = ("C{}", "BN{}") if capital else ("conv{}", "bn{}")
    shortcut = ("shortcut", "BNshortcut") if capital else ("downsample.0", "downsample.1")
    pairs = [stem]
    for number, block in enumerate(blocks):
        pairs += [(f"{block}.{conv.format(n)}", f"{block}.{norm.format(n)}") for n in (1, 2)]
        if number and number % each == 0:
            pairs.append((f"{block}.{shortcut[0]}", f"{block}.{shortcut[1]}"))
    return pairs


TRUNK = ("trunk.0", "trunk.1")
LAYOUTS: dict[str, Pairs] = {
    "MetaOptNet's ResNet-12": _resnet12("conv{}", "bn{}"),
    "mmfewshot's ResNet-12": _resnet12("conv{}", "norm{}"),
    "NegMargin's ResNet-12": _resnet12("C{}", "BN{}"),
    "Conv4 in layers": _conv4("layer{}.0", "layer{}.1", STAGES),
    "Conv4 in a sequence": _conv4("{}.0", "{}.1"),
    "CloserLook's Conv4": _conv4("trunk.{}.C", "trunk.{}.BN"),
    "mmfewshot's Conv4": _conv4("layers.{}.layers.0", "layers.{}.layers.1"),
    "FRN's Conv4": _conv4("layers.{}.layers.0", "layers.{}.layers.1", (0, 3, 6, 9)),
    "MetaOptNet's Conv4": _conv4("{}.block.0", "{}.block.1"),
    "torchvision's ResNet-18": _basic_blocks(
        ("conv1", "bn1"), [f"layer{stage}.{block}" for stage in STAGES for block in (0, 1)], 2, capital=False
    ),
    "CloserLook's ResNet-18": _basic_blocks(TRUNK, [f"trunk.{n}" for n in range(4, 12)], 2, capital=True),
    "NegMargin's ResNet-18": _basic_blocks(
        TRUNK, [f"layer{stage}.{block}" for stage in STAGES for block in (0, 1)], 2, capital=True
    ),
    "Hariharan's ResNet-10": _basic_blocks(TRUNK, [f"trunk.{n}" for n in range(4, 8)], 1, capital=True),
}
