"""Scaling and shifting of frozen convolutions: Sun, Liu, Chua and Schiele, "Meta-Transfer Learning", CVPR 2019."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ScaledConv(nn.Module):
    """A convolution with frozen weight W and bias b that acts as W * s and b + t.

    s is [out, in, 1, 1], one number for each two-dimensional kernel, and t is [out]; they start as 1 and 0. A
    convolution without a bias has no t.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.stride, self.padding = conv.stride, conv.padding
        self.weight = conv.weight.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones_like(conv.weight[:, :, :1, :1]))
        self.bias = None if conv.bias is None else conv.bias.requires_grad_(False)
        self.shift = None if conv.bias is None else nn.Parameter(torch.zeros_like(conv.bias))

    def forward(self, x: Tensor) -> Tensor:
        """[n, in, H, W] to [n, out, h, w]."""
        bias = None if self.bias is None or self.shift is None else self.bias + self.shift
        return F.conv2d(x, self.weight * self.scale, bias, self.stride, self.padding)


def scale_convolutions(network: nn.Module) -> None:
    """Put a `ScaledConv` in the place of every convolution; all names stay, so weights of the plain network fit."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                setattr(module, name, ScaledConv(child))
