"""Learned tensors that belong to the parameters of a network, such as the rates of an inner loop."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class NamedTensors(nn.Module):
    """Parameters by the names of other parameters, which have dots; a ParameterDict allows none."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.tensors = nn.ParameterDict({_key(name): tensor for name, tensor in tensors.items()})

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[_key(name)]

    def __contains__(self, name: str) -> bool:
        return _key(name) in self.tensors

    def mean(self) -> float:
        """The mean over all numbers."""
        return torch.cat([tensor.detach().flatten() for tensor in self.tensors.values()]).mean().item()


def _key(name: str) -> str:
    return name.replace(".", "/")
