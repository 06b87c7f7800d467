"""Gradients of a network that several processes train."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..ranks import Ranks


def sum_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Replace every gradient by its sum over the processes, in one exchange.

    A parameter without a gradient here gets one where another process has one, and else stays without: optimisers treat
    none and zero differently.
    """
    if ranks.alone:
        return
    trained = [p for p in parameters if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    present = gradients[0].new_tensor([p.grad is not None for p in trained])
    flat = ranks.add(torch.cat([*(gradient.reshape(-1) for gradient in gradients), present]))
    *sums, processes = flat.split([*(gradient.numel() for gradient in gradients), len(trained)])
    for p, gradient, summed, count in zip(trained, gradients, sums, processes.tolist(), strict=True):
        if count:
            p.grad = gradient.copy_(summed.view_as(gradient))
