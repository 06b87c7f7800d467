"""Equations of methods that adapt to a task by gradient steps, for one task in float64.

Each function takes `Inputs` and gives logits [Q, N] and the loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.parity.inputs import Inputs
from tests.parity.vector_equations import Answer, cross_entropy

Weights = dict[str, Tensor]


def network(weights: Weights, images: Tensor) -> Tensor:
    """Convolution, batch-norm of the images at hand, tanh, mean, linear."""
    x = F.conv2d(images, weights["backbone.layer.0.weight"], weights["backbone.layer.0.bias"], padding=1)
    centred = x - x.mean((0, 2, 3), keepdim=True)
    x = centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    gain, offset = (weights[f"backbone.layer.1.{name}"][:, None, None] for name in ("weight", "bias"))
    vectors = (gain * x + offset).tanh().mean((2, 3))
    return vectors @ weights["head.weight"].T + weights["head.bias"]


def linear(weights: Weights, vectors: Tensor) -> Tensor:
    return vectors @ weights["head.weight"].T + weights["head.bias"]


def answer(logits: Tensor, inputs: Inputs) -> Answer:
    return logits, cross_entropy(logits, inputs.query_y)


def descended(inputs: Inputs, steps: int, rate, moves: str = "", run=network, feature: str = "image") -> Weights:
    """Gradient steps on the supports, through all of which the loss on the queries is differentiated.

    `rate` gives the step size of a parameter; those move whose names begin with `moves`.
    """
    weights = {name: p for name, p in inputs.parameters.items() if name.startswith(("backbone.", "head."))}
    names = [name for name in weights if name.startswith(moves)]
    for _ in range(steps):
        loss = cross_entropy(run(weights, inputs.support[feature]), inputs.support_y)
        gradients = torch.autograd.grad(loss, [weights[name] for name in names], create_graph=True)
        moved = {name: weights[name] - rate(name) * g for name, g in zip(names, gradients, strict=True)}
        weights = weights | moved
    return weights


def maml(steps: int, rate: float):
    """Finn et al.: theta' = theta - rate * grad."""

    def equation(inputs: Inputs) -> Answer:
        weights = descended(inputs, steps, lambda name: rate)
        return answer(network(weights, inputs.query["image"]), inputs)

    return equation


def meta_sgd(steps: int):
    """Li et al.: a rate for each number."""

    def equation(inputs: Inputs) -> Answer:
        weights = descended(inputs, steps, lambda name: inputs.parameters[f"rates.tensors.{name.replace('.', '/')}"])
        return answer(network(weights, inputs.query["image"]), inputs)

    return equation


def boil(steps: int, rate: float):
    """Oh et al.: the body descends, the head does not."""

    def equation(inputs: Inputs) -> Answer:
        weights = descended(inputs, steps, lambda name: rate, moves="backbone.")
        return answer(network(weights, inputs.query["image"]), inputs)

    return equation


def anil(steps: int, rate: float):
    """Raghu et al.: the head descends on fixed features."""

    def equation(inputs: Inputs) -> Answer:
        weights = descended(inputs, steps, lambda name: rate, "head.", linear, "vector")
        return answer(linear(weights, inputs.query["vector"]), inputs)

    return equation


def maml_plus_plus(steps: int):
    """Antoniou et al.: a rate for each tensor and step, and a gain and an offset of the batch-norm for each step."""

    def equation(inputs: Inputs) -> Answer:
        p = inputs.parameters
        weights = {name: value for name, value in p.items() if name.startswith(("backbone.layer.0", "head."))}

        def run(weights: Weights, images: Tensor, step: int) -> Tensor:
            names = ("backbone.layer.1.weight", "backbone.layer.1.bias")
            return network(weights | {n: p[f"norms.tensors.{n.replace('.', '/')}"][step] for n in names}, images)

        for step in range(steps):
            loss = cross_entropy(run(weights, inputs.support["image"], step), inputs.support_y)
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            rates = [p[f"rates.tensors.{name.replace('.', '/')}"][step] for name in weights]
            moved = zip(weights.items(), rates, gradients, strict=True)
            weights = {name: value - rate * gradient for (name, value), rate, gradient in moved}
        return answer(run(weights, inputs.query["image"], steps - 1), inputs)

    return equation


def mtl(steps: int, rate: float):
    """Sun et al.: the head takes first-order steps; supports are constants, so the queries alone reach the network."""

    def equation(inputs: Inputs) -> Answer:
        support = inputs.support["vector"].detach()
        weights = {name: p for name, p in inputs.parameters.items() if name.startswith("head.")}
        for _ in range(steps):
            loss = cross_entropy(linear(weights, support), inputs.support_y)
            gradients = torch.autograd.grad(loss, list(weights.values()))
            weights = {name: w - rate * g.detach() for (name, w), g in zip(weights.items(), gradients, strict=True)}
        return answer(linear(weights, inputs.query["vector"]), inputs)

    return equation
