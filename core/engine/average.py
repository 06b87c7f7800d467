"""A moving average of the weights that training goes through."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ..methods.base import Method


class Average:
    """What a stage validates and keeps: the method as it is trained, or with averaged weights.

    After each step the averages become decay * average + (1 - decay) * weight, of parameters and of the running
    statistics of norms alike; counters are copied. With decay 0 there is no second network.
    """

    def __init__(self, method: Method, decay: float) -> None:
        self._trained, self._decay = method, decay
        self.method = copy.deepcopy(method) if decay else method

    @torch.no_grad()
    def follow(self) -> None:
        """Move towards the weights after a step."""
        if not self._decay:
            return
        weights = self._trained.state_dict()
        for name, average in self.method.state_dict().items():
            if average.is_floating_point():
                average.lerp_(weights[name], 1 - self._decay)
            else:
                average.copy_(weights[name])

    def state(self) -> dict[str, dict[str, Tensor]]:
        """What last.pth keeps of it."""
        return {"average": self.method.state_dict()} if self._decay else {}
