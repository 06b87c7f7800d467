"""A small structured layer and its input, for the tests of both its forms."""

from dataclasses import replace

import torch

from core.ops.adapt import HeadSGD
from core.ops.emd.solvers import solver_named
from core.ops.emd.structured_layer import StructuredLayer

SIMPLEX = solver_named("simplex")
SGD = HeadSGD(passes=3, batch=4, lr=20.0, momentum=0.9, dampening=0.9, weight_decay=0.01)
LAYER = StructuredLayer(SGD, 12.5, SIMPLEX, weight_grad=True, centred=True)


def layer_input(tasks=3, shot=2, way=3, nodes=5, channels=7):
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(way).repeat_interleave(shot).expand(tasks, -1)
    support = torch.randn(tasks, way * shot, nodes, channels, generator=draw, dtype=torch.float64) + 0.3
    classes = support.unflatten(1, (way, shot)).mean(2)
    return classes, support, labels, torch.arange(tasks)


def by_torch(layer):
    """The same layer with a solver that has no compiled steps."""
    return replace(layer, solve=lambda *problem: SIMPLEX(*problem))
