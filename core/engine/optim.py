"""Optimisers, and learning rates that are functions of the step alone, so that a resumed run needs no scheduler."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Recipe:
    """The OPTIM node of a stage; see core/config/defaults.py for each key."""

    name: str = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float = 0.0
    clip_by: str = "global"
    schedule: str = "constant"
    every: int = 20
    gamma: float = 0.5
    milestones: list[int] = field(default_factory=list)
    gammas: list[float] = field(default_factory=list)
    warmup: float = 0
    warmup_start: float = 1 / 16
    lr_min: float = 0.0

    @classmethod
    def from_node(cls, node: Mapping[str, Any], steps: int) -> Recipe:
        """The recipe of an OPTIM node for epochs of so many steps; a warm-up in steps becomes one in epochs."""
        values = {key.lower(): value for key, value in node.items()}
        warmup_steps = values.pop("warmup_steps")
        if warmup_steps:
            values["warmup"] = warmup_steps / steps
        return cls(**values)

    def optimizer(self, groups: list[dict]) -> torch.optim.Optimizer:
        """An optimiser over a method's parameter groups; each remembers the rate that `factor` scales."""
        groups = [{**group, "initial_lr": group["lr"]} for group in groups]
        if self.name == "adam":
            first, second = self.betas
            return torch.optim.Adam(groups, lr=self.lr, betas=(first, second), weight_decay=self.weight_decay)
        return torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay
        )

    def clip_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Shorten gradients to the norm `clip`: all as one vector, or with `clip_by` tensor each by itself."""
        if not self.clip:
            return
        parameters = list(parameters)
        for group in [parameters] if self.clip_by == "global" else [[parameter] for parameter in parameters]:
            nn.utils.clip_grad_norm_(group, self.clip)

    def factor(self, epoch: float, epochs: int) -> float:
        """What every group's learning rate is multiplied by at a (fractional) epoch.

        Warm-up is linear, from 1/16 as in NegMargin's code unless `warmup_start` says otherwise. step and multistep
        count epochs from the start; cosine begins where the warm-up ends.
        """
        if epoch < self.warmup:
            return self.warmup_start + (1 - self.warmup_start) * epoch / self.warmup
        if self.schedule == "step":
            return self.gamma ** int(epoch / self.every)
        if self.schedule == "multistep":
            dropped = sum(epoch >= milestone for milestone in self.milestones)
            return math.prod(self.gammas[:dropped]) if self.gammas else self.gamma**dropped
        if self.schedule == "cosine":
            low = self.lr_min / self.lr
            return low + (1 - low) * (1 + math.cos(math.pi * (epoch - self.warmup) / (epochs - self.warmup))) / 2
        return 1.0
