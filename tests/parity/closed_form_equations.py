"""Equations of heads in closed form (on d x d matrices where ours are n x n) and of their neighbours in tables.

Each function takes `Inputs` and gives logits [Q, N] and the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.inputs import WAY, Inputs
from tests.parity.vector_equations import (
    Answer,
    class_means,
    cosine,
    cross_entropy,
    identity,
    length,
    squared,
    table,
)


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


def lrd2(penalty: float, steps: int):
    """Newton's steps of one regularised logistic regression a class, in the d + 1 unknowns of its row."""

    def equation(inputs: Inputs) -> Answer:
        x, rows = with_one(inputs.support["vector"]), []
        for y in one_hot(inputs).T:
            w = torch.zeros(x.shape[1], dtype=x.dtype)
            for _ in range(steps):
                mu = torch.sigmoid(x @ w)
                curvature = x.T @ (mu * (1 - mu)).diag() @ x + penalty * identity(len(w))
                w = w - torch.linalg.inv(curvature) @ (x.T @ (mu - y) + penalty * w)
            rows.append(w)
        logits = with_one(inputs.query["vector"]) @ torch.stack(rows, 1)
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def svm(bound: float):
    """MetaOptNet's support vector machine, by the dense quadratic program in n N unknowns."""

    def equation(inputs: Inputs) -> Answer:
        x = inputs.support["vector"]
        duals = dense_svm(x @ x.T, one_hot(inputs), bound, 30)
        logits = inputs.parameters["scale"] * inputs.query["vector"] @ x.T @ duals
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def dense_svm(gram: Tensor, y: Tensor, bound: float, passes: int) -> Tensor:
    """A [n, N] of the point with the smallest residual among `passes`, as qpth takes them.

    The program is MetaOptNet's: z = A row by row, Q = gram (x) I + I, p = -Y, z <= C Y, and a sum of 0 for each row.
    """
    n, way = y.shape
    size, p, h = n * way, -y.flatten(), bound * y.flatten()
    q = torch.kron(gram, identity(way)) + identity(size)
    sums = torch.kron(identity(n), torch.ones(1, way, dtype=y.dtype))

    def newton(d: Tensor, *right: Tensor) -> tuple[Tensor, ...]:
        eye, zero, side, corner = identity(size), 0 * identity(size), 0 * sums, 0 * identity(n)
        matrix = torch.cat(
            [
                torch.cat([q, zero, eye, sums.T], 1),
                torch.cat([zero, d.diag(), eye, side.T], 1),
                torch.cat([eye, eye, zero, side.T], 1),
                torch.cat([sums, side, side, corner], 1),
            ]
        )
        return torch.linalg.solve(matrix, -torch.cat(right)).split([size, size, size, n])

    def reach(v: Tensor, dv: Tensor) -> float:
        return min([-a / b for a, b in zip(v.tolist(), dv.tolist(), strict=True) if b < 0], default=1e9)

    none = torch.zeros(size, dtype=y.dtype)
    rows = torch.zeros(n, dtype=y.dtype)
    x, s, z, nu = newton(torch.ones(size, dtype=y.dtype), p, none, -h, rows)
    s, z = (v - v.min() + 1 if v.min() < 0 else v for v in (s, z))
    least, best = float("inf"), x
    for _ in range(passes):
        misses = [q @ x + p + z + sums.T @ nu, z, x + s - h, sums @ x]
        mean = s @ z / size
        residual = float(sum(length(miss) for miss in (misses[0], misses[2], misses[3])) + size * mean)
        if residual < least:
            least, best = residual, x
        predicted = newton(z / s, *misses)
        ahead = min(reach(s, predicted[1]), reach(z, predicted[2]), 1.0)
        gap = (s + ahead * predicted[1]) @ (z + ahead * predicted[2])
        centre = (gap / (s @ z)) ** 3 * mean
        corrected = newton(z / s, none, (predicted[1] * predicted[2] - centre) / s, none, rows)
        step = [a + b for a, b in zip(predicted, corrected, strict=True)]
        ahead = min(0.999 * min(reach(s, step[1]), reach(z, step[2])), 1.0)
        x, s, z, nu = (v + ahead * dv for v, dv in zip((x, s, z, nu), step, strict=True))
    return best.view(n, way)


def unit_rows(x: Tensor) -> Tensor:
    return x / x.square().sum(1, keepdim=True).sqrt()


def with_free_intercept(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """W [d, N] and b [N] of the regression whose intercept costs nothing, on d + 1 unknowns."""
    rows = with_one(x)
    cost = penalty * identity(rows.shape[1])
    cost[-1, -1] = 0
    w = torch.linalg.solve(rows.T @ rows + cost, rows.T @ y)
    return w[:-1], w[-1]


def ridge_grid(penalties: list[float], scale: float):
    """The penalty whose regressions without each support in turn predict it best, then the regression on all."""

    def equation(inputs: Inputs) -> Answer:
        x, y, q = unit_rows(inputs.support["vector"]), one_hot(inputs), unit_rows(inputs.query["vector"])
        errors = []
        for penalty in penalties:
            total = 0.0
            for i in range(len(x)):
                rest = [j for j in range(len(x)) if j != i]
                w, b = with_free_intercept(x[rest], y[rest], penalty)
                total += (y[i] - x[i] @ w - b).square().sum().item()
            errors.append(total)
        w, b = with_free_intercept(x, y, penalties[errors.index(min(errors))])
        logits = scale * (q @ w + b)
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def tapnet(inputs: Inputs) -> Answer:
    """Yoon et al.: distances to references in the null space of the errors, by a singular value decomposition."""
    phi, beta = (inputs.parameters[f"references.{part}"] for part in ("weight", "bias"))
    means = class_means(inputs)
    apart = [WAY * row - phi.sum(0) for row in phi]
    errors = [a / (length(a) + 1e-6) - c / (length(c) + 1e-6) for a, c in zip(apart, means, strict=True)]
    basis = torch.linalg.svd(torch.stack(errors).detach()).Vh[WAY:].T
    rows = [
        torch.stack([2 * b - squared(q @ basis, row @ basis) for row, b in zip(phi, beta, strict=True)])
        for q in inputs.query["vector"]
    ]
    logits = torch.stack(rows)
    return logits, cross_entropy(logits, inputs.query_y)


def positions(image: Tensor) -> list[Tensor]:
    """The descriptors of a map [C, h, w]."""
    return [image[:, i, j] for i in range(image.shape[1]) for j in range(image.shape[2])]


def dense(inputs: Inputs) -> Answer:
    """Lifchitz et al. at test: the mean cosine of a query's positions with the mean position of each class."""
    scale = inputs.parameters["scale"]
    classes = [
        torch.stack([r for image in inputs.members(n, "map") for r in positions(image)]).mean(0) for n in range(WAY)
    ]
    logits = torch.stack([scale * table(cosine, positions(image), classes).mean(0) for image in inputs.query["map"]])
    return logits, cross_entropy(logits, inputs.query_y)


def dense_classifier(inputs: Inputs) -> Answer:
    """Lifchitz et al. on base images: the mean loss of the positions."""
    scale, weight = inputs.parameters["scale"], inputs.parameters["classifier.weight"]
    each = [scale * table(cosine, positions(image), weight) for image in inputs.query["map"]]
    losses = [cross_entropy(logits, y.expand(len(logits))) for logits, y in zip(each, inputs.query_y, strict=True)]
    return torch.stack([logits.mean(0) for logits in each]), sum(losses) / len(losses)


def class_models(inputs: Inputs) -> Answer:
    """Ravichandran et al., as we read them, on base images: distances to class models at length 1."""
    scale, models = inputs.parameters["scale"], inputs.parameters["classifier.models"]
    logits = table(lambda z, c: -scale * squared(z / length(z), c / length(c)), inputs.query["vector"], models)
    return logits, cross_entropy(logits, inputs.query_y)


def nearest_models(inputs: Inputs) -> Answer:
    """The same at test: the model of a class is the mean of its supports at length 1."""
    means = class_means(inputs, lambda x: x / length(x))
    scale = inputs.parameters["scale"]
    logits = table(lambda z, c: -scale * squared(z / length(z), c / length(c)), inputs.query["vector"], means)
    return logits, cross_entropy(logits, inputs.query_y)
