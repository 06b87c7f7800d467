"""Equations of methods on vectors, from their papers and their authors' code, for one task as loops in float64.

Each function takes `Inputs` and gives logits [Q, N] and the loss.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.parity.inputs import N_BASE, WAY, Inputs

Answer = tuple[Tensor, Tensor]


def table(score, queries, classes) -> Tensor:
    """score(q, c) for every query and class."""
    return torch.stack([torch.stack([score(q, c) for c in classes]) for q in queries])


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows of -log softmax at the label."""
    return sum(-(row[y] - row.exp().sum().log()) for row, y in zip(logits, labels, strict=True)) / len(logits)


def mean(members: list[Tensor]) -> Tensor:
    return sum(members) / len(members)


def identity(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)


def length(x: Tensor) -> Tensor:
    return x.square().sum().sqrt()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / length(a) / length(b)


def squared(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum()


def class_means(inputs: Inputs, change=lambda x: x) -> list[Tensor]:
    return [mean([change(x) for x in inputs.members(n, "vector")]) for n in range(WAY)]


def prototypes(scale: float):
    """Snell et al., eqs. 1 and 2, with an inverse temperature."""

    def equation(inputs: Inputs) -> Answer:
        logits = table(lambda q, c: -scale * squared(q, c), inputs.query["vector"], class_means(inputs))
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def cosine_prototypes(scale: float | None):
    """Scaled cosines with class means; the scale is Meta-Baseline's learned one where none is given."""

    def equation(inputs: Inputs) -> Answer:
        s = inputs.parameters["scale"] if scale is None else scale
        logits = table(lambda q, c: s * cosine(q, c), inputs.query["vector"], class_means(inputs))
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def matching(scale: float):
    """Vinyals et al., eqs. 1 and 2: the logarithm of the sum of a class's attentions."""

    def equation(inputs: Inputs) -> Answer:
        rows = []
        for q in inputs.query["vector"]:
            powers = [(scale * cosine(q, s)).exp() for s in inputs.support["vector"]]
            of_class = [sum(p for p, y in zip(powers, inputs.support_y, strict=True) if y == n) for n in range(WAY)]
            rows.append(torch.stack([part / sum(powers) for part in of_class]).log())
        log_p = torch.stack(rows)
        return log_p, -mean([row[y] for row, y in zip(log_p, inputs.query_y, strict=True)])

    return equation


def simpleshot(norm: str):
    """Wang et al.: centre on the mean of all base images, normalise, nearest class mean."""

    def equation(inputs: Inputs) -> Answer:
        images = [x for x, count in zip(inputs.base["vector"], inputs.base_counts, strict=True) for _ in range(count)]

        def change(x):
            x = x - mean(images) if norm == "CL2N" else x
            return x if norm == "UN" else x / length(x)

        queries = [change(q) for q in inputs.query["vector"]]
        logits = table(lambda q, c: -squared(q, c), queries, class_means(inputs, change))
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def attention(inputs: Inputs, rows: list[Tensor]) -> list[Tensor]:
    """FEAT's transformer with one head over a set, a residual and layer-norm."""
    p = {name.removeprefix("attention."): value for name, value in inputs.parameters.items()}
    q, k, v = ([p[f"{name}.weight"] @ x for x in rows] for name in ("query", "key", "value"))
    adapted = []
    for x, one in zip(rows, q, strict=True):
        powers = [((one * other).sum() / math.sqrt(len(x))).exp() for other in k]
        mixed = sum(power / sum(powers) * value for power, value in zip(powers, v, strict=True))
        y = x + p["out.weight"] @ mixed + p["out.bias"]
        y = (y - y.mean()) / ((y - y.mean()).square().mean() + 1e-5).sqrt()
        adapted.append(y * p["norm.weight"] + p["norm.bias"])
    return adapted


def feat(temperature: float, temperature2: float, balance: float):
    """Ye et al., eqs. 4 and 8."""

    def equation(inputs: Inputs) -> Answer:
        queries = list(inputs.query["vector"])
        logits = table(lambda q, c: -squared(q, c) / temperature, queries, attention(inputs, class_means(inputs)))
        of_class = [[q for q, y in zip(queries, inputs.query_y, strict=True) if y == n] for n in range(WAY)]
        sets = [inputs.members(n, "vector") + of_class[n] for n in range(WAY)]
        centres = [mean(attention(inputs, rows)) for rows in sets]
        instances = [(x, n) for n, rows in enumerate(sets) for x in rows]
        contrast = table(lambda x, c: -squared(x, c) / temperature2, [x for x, _ in instances], centres)
        labels = torch.tensor([n for _, n in instances])
        return logits, cross_entropy(logits, inputs.query_y) + balance * cross_entropy(contrast, labels)

    return equation


def am3(inputs: Inputs) -> Answer:
    """Xing et al., eq. 5: lambda p + (1 - lambda) g(e), lambda = sigmoid(h(g(e))), minus the distance itself."""
    p = inputs.parameters

    def network(name, x):
        hidden = (p[f"{name}.0.weight"] @ x + p[f"{name}.0.bias"]).clamp(min=0)
        return p[f"{name}.3.weight"] @ hidden + p[f"{name}.3.bias"]

    mixed = []
    for prototype, word in zip(class_means(inputs), inputs.words, strict=True):
        g = network("transform", word)
        weight = 1 / (1 + (-network("weigh", g)).exp())
        mixed.append(weight * prototype + (1 - weight) * g)
    logits = table(lambda q, c: -length(q - c), inputs.query["vector"], mixed)
    return logits, cross_entropy(logits, inputs.query_y)


def dynamic_fsl(inputs: Inputs) -> Answer:
    """Gidaris and Komodakis, eqs. 7 and 8; the loss is over all base classes, of which those of the task are novel."""
    p, class_ids = inputs.parameters, inputs.class_ids
    unit = [w / length(w) for w in p["weight"]]
    weights = []
    for n in range(WAY):
        shots = [x / length(x) for x in inputs.members(n, "vector")]
        seen = 0
        for z in shots:
            phi_z = p["attention.query.weight"] @ z + p["attention.query.bias"]
            keys = {b: p["attention.keys"][b] for b in range(N_BASE) if b not in class_ids}
            powers = {b: (p["attention.gamma"] * cosine(phi_z, key)).exp() for b, key in keys.items()}
            seen = seen + sum(power / sum(powers.values()) * unit[b] for b, power in powers.items()) / len(shots)
        weights.append(p["phi_avg"] * mean(shots) + p["attention.phi_att"] * seen)
    score = lambda q, w: p["scale"] * cosine(q, w)  # noqa: E731
    classes = [weights[class_ids.index(b)] if b in class_ids else p["weight"][b] for b in range(N_BASE)]
    queries = [*inputs.query["vector"], *inputs.base_query["vector"]]
    labels = [class_ids[y] for y in inputs.query_y.tolist()] + inputs.base_query_y.tolist()
    logits = table(score, inputs.query["vector"], weights)
    return logits, cross_entropy(table(score, queries, classes), torch.tensor(labels))


def linear_classifier(inputs: Inputs) -> Answer:
    """Base classes by W z + b."""
    rows = zip(inputs.parameters["classifier.weight"], inputs.parameters["classifier.bias"], strict=True)
    logits = table(lambda z, row: (z * row[0]).sum() + row[1], inputs.query["vector"], list(rows))
    return logits, cross_entropy(logits, inputs.query_y)


def cosine_classifier(scale: float, margin: float = 0.0, norm: bool = False):
    """Base classes by scaled cosines: Baseline++ with weight normalisation, NegMargin with a margin on the target."""

    def equation(inputs: Inputs) -> Answer:
        w, p = inputs.parameters["classifier.weight"], inputs.parameters
        factors = list(p["classifier.norm"]) if norm else [1.0] * len(w)
        logits = table(
            lambda z, row: scale * row[1] * cosine(z, row[0]),
            inputs.query["vector"],
            list(zip(w, factors, strict=True)),
        )
        moved = torch.stack(
            [row - scale * margin * identity(len(row))[y] for row, y in zip(logits, inputs.query_y, strict=True)]
        )
        return logits, cross_entropy(moved, inputs.query_y)

    return equation


def dot_classifier(scale: float, margin: float):
    """NegMargin's softmax form: the margin is in units of the similarity."""

    def equation(inputs: Inputs) -> Answer:
        logits = table(
            lambda z, w: scale * (z * w).sum(), inputs.query["vector"], list(inputs.parameters["classifier.weight"])
        )
        moved = torch.stack(
            [row - scale * margin * identity(len(row))[y] for row, y in zip(logits, inputs.query_y, strict=True)]
        )
        return logits, cross_entropy(moved, inputs.query_y)

    return equation


def fine_tuned(kind: str, scale: float, passes: int):
    """Chen et al.: a head trained on the frozen supports by SGD, here all of them in each step."""

    def equation(inputs: Inputs) -> Answer:
        rows = inputs.start.clone().requires_grad_()
        third = {"linear": inputs.bias.clone(), "norm": torch.stack([length(w) for w in inputs.start])}.get(kind)
        learned = [rows] if third is None else [rows, third.requires_grad_()]

        def logits(vectors):
            if kind == "linear":
                return table(lambda z, row: (z * row[0]).sum() + row[1], vectors, list(zip(rows, third, strict=True)))
            factors = third if kind == "norm" else torch.ones(len(rows))
            return table(
                lambda z, row: scale * row[1] * cosine(z, row[0]), vectors, list(zip(rows, factors, strict=True))
            )

        momenta = [torch.zeros_like(x) for x in learned]
        for step in range(passes):
            loss = cross_entropy(logits(inputs.support["vector"].detach()), inputs.support_y)
            gradients = torch.autograd.grad(loss, learned)
            with torch.no_grad():
                for x, gradient, momentum in zip(learned, gradients, momenta, strict=True):
                    gradient = gradient + 1e-3 * x
                    momentum.copy_(gradient if step == 0 else 0.9 * momentum + 0.1 * gradient)
                    x -= 0.01 * momentum
        rows, third = rows.detach(), None if third is None else third.detach()
        answers = logits(inputs.query["vector"])
        return answers, cross_entropy(answers, inputs.query_y)

    return equation


def logistic_regression(inverse_penalty: float, vector=lambda inputs, feature: feature["vector"]):
    """The minimum of |W|^2 / 2 + C sum CE(W z + b) on supports of length 1, by Newton's method on all numbers."""

    def equation(inputs: Inputs) -> Answer:
        z, queries = ([x / length(x) for x in vector(inputs, part)] for part in (inputs.support, inputs.query))
        z, d = [x.detach() for x in z], len(z[0])

        def answers(flat, vectors):
            w, b = flat[: WAY * d].view(WAY, d), flat[WAY * d :]
            return table(lambda x, n: (x * w[n]).sum() + b[n], vectors, range(WAY))

        def objective(flat):
            misfit = len(z) * cross_entropy(answers(flat, z), inputs.support_y)
            return flat[: WAY * d].square().sum() / 2 + inverse_penalty * misfit

        flat = torch.zeros(WAY * (d + 1), dtype=torch.float64)
        for _ in range(20):
            slope = torch.autograd.functional.jacobian(objective, flat)
            bend = torch.autograd.functional.hessian(objective, flat)
            flat = flat - torch.linalg.pinv(bend, hermitian=True, rtol=1e-10) @ slope
        logits = answers(flat, queries)
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def cache_of_supports(beta: float):
    """Zhang et al. (Tip-Adapter), eq. 4 without text: the log of each class's sum of exp(-beta (1 - cos))."""

    def equation(inputs: Inputs) -> Answer:
        def score(q, members):
            return sum((-beta * (1 - cosine(q, s))).exp() for s in members).log()

        classes = [inputs.members(n, "vector") for n in range(WAY)]
        logits = table(score, inputs.query["vector"], classes)
        return logits, cross_entropy(logits, inputs.query_y)

    return equation


def averaged(*equations):
    """The logarithm of the mean probability that several classifiers give; the first of them is what learns."""

    def equation(inputs: Inputs) -> Answer:
        logits, losses = zip(*(one(inputs) for one in equations), strict=True)
        probabilities = [torch.stack([row.exp() / row.exp().sum() for row in rows]) for rows in logits]
        return mean(probabilities).log(), losses[0]

    return equation
