"""Encoders with their weights, for those who have no configuration."""

from __future__ import annotations

import torch

from ..backbones.blocks import ExternalData
from ..backbones.encoders import Encoder
from ..engine.encoder_weights import load_weights
from ..errors import UserError
from ..registry import BACKBONES, import_all


def make_encoder(
    name: str, weights: str = "", *, size: int = 0, vector: str = "native", device: torch.device | str = "cpu"
) -> tuple[Encoder, ExternalData | None]:
    """An encoder in eval mode, and where its weights come from; None for random ones, which are drawn from seed 0.

    `encoder.size` and `encoder.preprocessing` say how large images must be and how they are normalised.

    Args:
        name: torchvision:MODEL or timm:MODEL.
        weights: "default" for the library's own, a file, or "" for random ones.
        size: side in pixels of what the network sees; 0 = the weights' own.
        vector: what becomes of the map, see BACKBONE.VECTOR.
        device: where it goes.

    Raises:
        UserError: where there is no such encoder, or its weights do not fit or cannot be had.
    """
    import_all(f"{__package__.removesuffix('.build')}.backbones")
    kind = BACKBONES[name]
    if not issubclass(kind, Encoder):
        raise UserError(f"{name!r} is no encoder with weights of its own; give torchvision:MODEL or timm:MODEL.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = kind(0, vector, size=size)
    external = load_weights(encoder, weights) if weights else None
    return encoder.eval().to(device).to(memory_format=torch.channels_last), external
