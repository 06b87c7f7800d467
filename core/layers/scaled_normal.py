"""The initial weights of TADAM's code (Oreshkin et al., NeurIPS 2018), which AM3's code shares."""

from __future__ import annotations

import math

from torch import nn

FACTOR = 0.1  # of He's variance


def start_scaled_normal(network: nn.Module) -> None:
    """Draw the weights of all convolutions and linear layers from N(0, 0.2 / (k k C_out)), and set biases to 0.

    The code divides by the outputs of a kernel of side k, not by its inputs.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            outputs = layer.weight.shape[0] * layer.weight[0, 0].numel()
            nn.init.normal_(layer.weight, std=math.sqrt(2 * FACTOR / outputs))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
