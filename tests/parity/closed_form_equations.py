"""Equations of heads in closed form, on d x d matrices where ours are n x n, for one task in float64.

Each function takes `Inputs` and gives logits [Q, N] and the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.inputs import WAY, Inputs
from tests.parity.vector_equations import Answer, cross_entropy, identity


def with_one(x: Tensor) -> Tensor:
    """Each row with an entry 1 for the bias."""
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)


def one_hot(inputs: Inputs) -> Tensor:
    """Y, [n, N]."""
    return torch.stack([(inputs.support_y == n).double() for n in range(WAY)], 1)


def r2d2(penalty: float):
    """Bertinetto et al., ridge regression as their code scales it: X and Y divided by sqrt(n)."""

    def equation(inputs: Inputs) -> Answer:
        n = len(inputs.support_y)
        x, y = with_one(inputs.support["vector"]) / n**0.5, one_hot(inputs) / n**0.5
        w = torch.linalg.inv(x.T @ x + penalty * identity(x.shape[1])) @ x.T @ y
        logits = inputs.parameters["scale"] * with_one(inputs.query["vector"]) @ w
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def ridge(penalty: float):
    """MetaOptNet's ridge regression: 2 (X^T X + penalty I)^-1 X^T Y."""

    def equation(inputs: Inputs) -> Answer:
        x = inputs.support["vector"]
        w = 2 * torch.linalg.inv(x.T @ x + penalty * identity(x.shape[1])) @ x.T @ one_hot(inputs)
        logits = inputs.parameters["scale"] * inputs.query["vector"] @ w
        return logits, cross_entropy(logits, inputs.query_y)

    return equation
