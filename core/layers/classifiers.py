"""Classifiers over the base classes: vectors [n, d] to logits [n, n_base]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineClassifier(nn.Module):
    """Logits scale * norm_j * cos(z, w_j); the norm is 1, or learned for each class (weight normalisation).

    With `learn_scale` the scale is a parameter, too.
    """

    def __init__(
        self, width: int, classes: int, scale: float, learn_norm: bool = False, learn_scale: bool = False
    ) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale)) if learn_scale else scale
        self.weight = nn.Parameter(torch.empty(classes, width))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.norm = nn.Parameter(self.weight.detach().norm(dim=1)) if learn_norm else None

    def forward(self, vectors: Tensor) -> Tensor:
        """[n, d] to [n, classes]."""
        logits = self.scale * F.linear(F.normalize(vectors, dim=-1), F.normalize(self.weight, dim=-1))
        return logits if self.norm is None else logits * self.norm


class DotClassifier(nn.Module):
    """Logits scale * <z, w_j>, without a bias; with `learn_scale` the scale is a parameter."""

    def __init__(self, width: int, classes: int, scale: float, learn_scale: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale)) if learn_scale else scale
        self.weight = nn.Parameter(torch.empty(classes, width))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, vectors: Tensor) -> Tensor:
        """[n, d] to [n, classes]."""
        return self.scale * F.linear(vectors, self.weight)
