"""Networks, tasks and plain copies that descend, for the tests of methods with an inner loop."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from core.backbones.blocks import Backbone, ConvBN
from core.episode import DataInfo
from tests.helpers import make_task
from tests.methods.small import drawn

WAY = 3
INFO = DataInfo(n_base=6, image_size=16, way=WAY)


class Smooth(Backbone):
    """Differentiable everywhere, for finite differences."""

    channels, map_size = 3, 8

    def __init__(self):
        super().__init__("mean")
        self.layers = nn.Sequential(ConvBN(3, 3, 3, bias=True, norm="batch"), nn.Tanh())

    def maps(self, images):
        return self.layers(images)


def build(kind, backbone=None, **options):
    """A method in float64 on a small smooth network, the same for all kinds."""
    torch.manual_seed(0)
    return kind(backbone or Smooth(), INFO, **options).double()


def pixels(tasks=2, shot=2, queries=6, size=8):
    support, query = drawn(tasks, WAY * shot, 3, size, size), drawn(tasks, queries, 3, size, size, seed=1)
    return make_task({"image": support}, {"image": query}, WAY, shot)


def copied(method):
    """The network of a method."""
    return nn.ModuleDict({"backbone": copy.deepcopy(method.backbone), "head": copy.deepcopy(method.head)})


def logits_of(network, images):
    return network["head"](network["backbone"](images)["vector"])


def descended(method, support, labels, steps, rate):
    """A copy of the network after gradient descent on the supports; `rate` gives the step size of a name and a step."""
    network = copied(method)
    for step in range(steps):
        loss = F.cross_entropy(logits_of(network, support), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for (name, p), gradient in zip(network.named_parameters(), gradients, strict=True):
                p -= rate(name, step) * gradient
    return network


def slope(method, loss, parameter, direction, epsilon=1e-5):
    """The derivative of `loss()` along a direction of a parameter, by central differences."""
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter += sign * epsilon * direction
        sides.append(float(loss().detach()))
        with torch.no_grad():
            parameter -= sign * epsilon * direction
    return (sides[0] - sides[1]) / (2 * epsilon)
