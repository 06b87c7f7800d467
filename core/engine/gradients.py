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
    present = ranks.add(torch.tensor([p.grad is not None for p in trained], dtype=torch.int32))
    trained = [p for p, processes in zip(trained, present.tolist(), strict=True) if processes]
    for p in trained:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    gradients = [p.grad for p in trained if p.grad is not None]
    flat = ranks.add(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))
