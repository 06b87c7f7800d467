"""Equations of methods that adapt to a task by gradient steps, for one task in float64.

Each function takes `Inputs` and gives logits [Q, N] and the loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.parity.inputs import WAY, Inputs
from tests.parity.vector_equations import Answer, cosine, cross_entropy, table

Weights = dict[str, Tensor]


def vectors(weights: Weights, images: Tensor, name: str, more_gain=None, more_offset=None) -> Tensor:
    """Convolution, batch-norm of the images at hand, a gain and an offset of each image, tanh, mean."""
    x = F.conv2d(images, weights[f"{name}layer.0.weight"], weights[f"{name}layer.0.bias"], padding=1)
    centred = x - x.mean((0, 2, 3), keepdim=True)
    x = centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    gain, offset = (weights[f"{name}layer.1.{part}"][:, None, None] for part in ("weight", "bias"))
    x = gain * x + offset
    if more_gain is not None:
        x = more_gain[..., None, None] * x + more_offset[..., None, None]
    return x.tanh().mean((2, 3))


def network(weights: Weights, images: Tensor) -> Tensor:
    """A linear head on the vectors of the backbone."""
    return linear(weights, vectors(weights, images, "backbone."))


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


def implicit(inputs: Inputs, penalty: float, run, feature: str) -> Weights:
    """Rajeswaran et al.: the minimum of L_support + penalty / 2 |phi - theta|^2, by Newton's method on all numbers.

    Its derivative by whatever leads to it is that of phi - M^-1 F(phi) with the Hessian M at a constant phi, where the
    gradient F is zero.
    """
    names = [name for name in inputs.parameters if name.startswith(("backbone.", "head."))]
    start = {name: inputs.parameters[name] for name in names}
    theta = torch.cat([start[name].flatten() for name in names])

    def weights(flat: Tensor) -> Weights:
        parts = flat.split([start[name].numel() for name in names])
        return {name: part.view(start[name].shape) for name, part in zip(names, parts, strict=True)}

    def height(flat: Tensor) -> Tensor:
        fit = cross_entropy(run(weights(flat), inputs.support[feature]), inputs.support_y)
        return fit + penalty / 2 * (flat - theta).square().sum()

    flat = theta.detach()
    for _ in range(30):
        matrix = torch.autograd.functional.hessian(height, flat)
        at = flat.requires_grad_()
        (slope,) = torch.autograd.grad(height(at), at, create_graph=True)
        moved = at.detach() - torch.linalg.solve(matrix, slope)
        flat = moved.detach()
    return weights(moved)


def imaml(penalty: float, run=network, feature: str = "image"):
    """iMAML of the whole network, or of the head."""

    def equation(inputs: Inputs) -> Answer:
        return answer(run(implicit(inputs, penalty, run, feature), inputs.query[feature]), inputs)

    return equation


def e3bm(steps: int, scale: float):
    """Liu et al.: cosine heads from the class means, with learned rates, and learned weights of all learners."""

    def logits(vectors: Tensor, rows: Tensor) -> Tensor:
        return table(lambda z, w: scale * cosine(z, w), vectors, rows)

    def equation(inputs: Inputs) -> Answer:
        p, centre = inputs.parameters, lambda z: z - z.mean(1, keepdim=True)
        z, queries = centre(inputs.support["vector"]), centre(inputs.query["vector"])
        mean_support, z = z.mean(0), z.detach()

        def number(prior: str, step: int, mean_row: Tensor) -> Tensor:
            line = p[f"{prior}.map.weight"][step] @ torch.cat([mean_support, mean_row]) + p[f"{prior}.map.bias"][step]
            return p[f"{prior}.start"][step] + 1e-4 * line

        rows = torch.stack([z[inputs.support_y == n].mean(0) for n in range(WAY)])
        total = torch.zeros(len(queries), WAY, dtype=z.dtype)
        for step in range(steps):
            at = rows.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(cross_entropy(logits(z, at), inputs.support_y), at)
            rows = rows - number("rates", step, gradient.mean(0)) * gradient
            total = total + number("weights", step, gradient.mean(0)) * logits(queries, rows)
        return answer(total, inputs)

    return equation


def caml(steps: int, rate: float):
    """Jiang et al., as CAML's docstring has it: a metric network's vector of each image conditions the batch-norm."""

    def run(weights: Weights, images: Tensor) -> Tensor:
        place = vectors(weights, images, "metric.").detach()
        gain, offset = (place @ weights["condition.0.weight"].T + weights["condition.0.bias"]).chunk(2, dim=1)
        return linear(weights, vectors(weights, images, "backbone.", 1 + gain, offset))

    def equation(inputs: Inputs) -> Answer:
        weights = dict(inputs.parameters)
        names = [name for name in weights if name.startswith(("backbone.", "head."))]
        for _ in range(steps):
            loss = cross_entropy(run(weights, inputs.support["image"]), inputs.support_y)
            gradients = torch.autograd.grad(loss, [weights[name] for name in names], create_graph=True)
            weights |= {name: weights[name] - rate * g for name, g in zip(names, gradients, strict=True)}
        return answer(run(weights, inputs.query["image"]), inputs)

    return equation
