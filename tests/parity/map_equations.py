"""Equations of methods on maps, parts and images, for one task as loops in float64; see `vector_equations`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy.optimize import linprog
from torch import Tensor

from tests.parity.inputs import N_BASE, WAY, Inputs
from tests.parity.vector_equations import Answer, class_means, cosine, cross_entropy, identity, mean, squared, table


def positions(image: Tensor) -> list[Tensor]:
    """The local descriptors of a map [C, h, w], row by row."""
    return [image[:, i, j] for i in range(image.shape[1]) for j in range(image.shape[2])]


def answer(logits: Tensor, inputs: Inputs) -> Answer:
    return logits, cross_entropy(logits, inputs.query_y)


def nearest(query: list[Tensor], pool: list[Tensor], k: int) -> Tensor:
    """Every descriptor's k largest cosines with the pool, summed."""
    return sum(sum(sorted((cosine(x, y) for y in pool), reverse=True)[:k]) for x in query)


def dn4(k: int):
    """Li et al., CVPR 2019, eqs. 2 and 3."""

    def equation(inputs: Inputs) -> Answer:
        pools = [[y for image in inputs.members(n, "map") for y in positions(image)] for n in range(WAY)]
        return answer(table(lambda q, pool: nearest(positions(q), pool, k), inputs.query["map"], pools), inputs)

    return equation


def covamnet(inputs: Inputs) -> Answer:
    """Li et al., AAAI 2019: the covariance metric of a query's channel-normalised descriptors."""
    covariances = []
    for n in range(WAY):
        pool = [y for image in inputs.members(n, "map") for y in positions(image)]
        centred = [y - mean(pool) for y in pool]
        covariances.append(sum(torch.outer(y, y) for y in centred) / (len(pool) - 1))

    def score(q, covariance):
        unit = torch.stack([channel / channel.square().sum().sqrt() for channel in q])
        metric = [x @ covariance @ x for x in positions(unit)]
        leaky = [m if m > 0 else 0.2 * m for m in metric]
        return sum(w * m for w, m in zip(inputs.parameters["weight"], leaky, strict=True))

    return answer(table(score, inputs.query["map"], covariances), inputs)


def relation(inputs: Inputs) -> Answer:
    """Sung et al., eqs. 1 and 2: layers on concatenated maps, batch statistics, squared error of the sigmoid."""
    p = {name.removeprefix("relation."): value for name, value in inputs.parameters.items()}
    sums = [sum(inputs.members(n, "map")) for n in range(WAY)]
    x = torch.stack([torch.cat([of_class, q]) for q in inputs.query["map"] for of_class in sums])
    for block in (0, 1):
        x = F.conv2d(x, p[f"blocks.{block}.0.weight"], p[f"blocks.{block}.0.bias"], padding=1)
        centred = x - x.mean((0, 2, 3), keepdim=True)
        x = centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
        gain, offset = (p[f"blocks.{block}.1.{name}"][:, None, None] for name in ("weight", "bias"))
        x = (gain * x + offset).clamp(min=0)
        x = F.max_pool2d(x, 2) if x.shape[-1] > 1 else x
    hidden = (x.flatten(1) @ p["head.0.weight"].T + p["head.0.bias"]).clamp(min=0)
    logits = (hidden @ p["head.2.weight"].T + p["head.2.bias"]).view(-1, WAY)
    hits = torch.stack([identity(WAY)[y] for y in inputs.query_y])
    return logits, (1 / (1 + (-logits).exp()) - hits).square().mean()


def nodes(image: Tensor, pyramid: tuple[int, ...]) -> list[Tensor]:
    """DeepEMD's nodes of a map: the positions of pooled maps, then those of the map itself."""
    levels = [F.adaptive_avg_pool2d(image, side) for side in pyramid] + [image]
    return [x for level in levels for x in positions(level)]


def transport(query: list[Tensor], of_class: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Similarities S and the flow X that is optimal for costs 1 - S and the cross-reference weights, as constants."""
    centre = lambda x: x - x.mean()  # noqa: E731
    similarity = table(lambda u, v: cosine(centre(u), centre(v)), query, of_class)
    a = torch.stack([(u @ mean(of_class)).clamp(min=0) + 1e-3 for u in query]).detach()
    b = torch.stack([(v @ mean(query)).clamp(min=0) + 1e-3 for v in of_class]).detach()
    n, m = len(a), len(b)
    rows = [[float(i == k) for i in range(n) for _ in range(m)] for k in range(n)]
    columns = [[float(j == k) for _ in range(n) for j in range(m)] for k in range(m)]
    totals = [*(n * a / a.sum()).tolist(), *(n * b / b.sum()).tolist()]
    cost = (1 - similarity).detach().flatten().numpy()
    solution = linprog(cost, A_eq=(rows + columns)[:-1], b_eq=totals[:-1], method="highs")
    return similarity, torch.from_numpy(solution.x).view(n, m)


def deepemd(pyramid: tuple[int, ...] = (), passes: int = 0, rate: float = 0.0, temperature: float = 12.5):
    """Zhang et al., eqs. 2, 7 and 8, by the authors' OpenCV path: the flow is constant, only S has a gradient.

    Differences of these values give the whole gradient, that of their path through qpth.
    At several shots every node of a class, those of the pyramid included, starts as the mean over its supports and is
    fine-tuned by SGD with momentum and dampening 0.9, here with all supports in each step.
    """

    def score(query, of_class):
        similarity, flow = transport(query, of_class)
        return temperature / len(query) * (similarity * flow).sum()

    def equation(inputs: Inputs) -> Answer:
        support = [nodes(image, pyramid) for image in inputs.support["map"]]
        of_class = [[s for s, y in zip(support, inputs.support_y, strict=True) if y == n] for n in range(WAY)]
        classes = [[mean([image[i] for image in images]) for i in range(len(images[0]))] for images in of_class]
        if passes:
            fixed = [[x.detach() for x in image] for image in support]
            learned = torch.stack([torch.stack(part) for part in classes]).detach().requires_grad_()
            momentum = None
            for _ in range(passes):
                loss = cross_entropy(table(score, fixed, [list(c) for c in learned]), inputs.support_y)
                (gradient,) = torch.autograd.grad(loss, learned)
                momentum = gradient if momentum is None else 0.9 * momentum + 0.1 * gradient
                learned = (learned - rate * momentum).detach().requires_grad_()
            classes = [list(c) for c in learned.detach()]
        return answer(table(score, [nodes(q, pyramid) for q in inputs.query["map"]], classes), inputs)

    return equation


def reconstruction(query: list[Tensor], rows: list[Tensor], alpha: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
    """FRN's eqs. 8 and 10 for one query and one class: -gamma times the mean squared error."""
    s = torch.stack(rows)
    penalty = len(s) / s.shape[1] * alpha.exp() + 1e-6
    inverse = torch.linalg.inv(s @ s.T + penalty * identity(len(s)))
    return -gamma * mean([squared(q, beta.exp() * (q @ s.T @ inverse @ s)) for q in query])


def frn(inputs: Inputs) -> Answer:
    """Wertheimer et al., with the auxiliary term of the authors' present code: 0.03 times the sum over i < j."""
    p = inputs.parameters
    rows = [[y for image in inputs.members(n, "map") for y in positions(image)] for n in range(WAY)]
    score = lambda q, s: reconstruction(positions(q), s, p["alpha"], p["beta"], p["gamma"])  # noqa: E731
    logits, loss = answer(table(score, inputs.query["map"], rows), inputs)
    norm = sum(y.square().sum() for part in rows for y in part).sqrt()
    units = [torch.stack(part) / norm for part in rows]
    overlap = sum((units[i] @ units[j].T).square().sum() for i in range(WAY) for j in range(i + 1, WAY))
    return logits, loss + 0.03 * overlap


def frn_pretraining(inputs: Inputs) -> Answer:
    """Base classes as learned matrices; alpha and beta are not trained."""
    p = inputs.parameters
    alpha, beta = p["alpha"].detach(), p["beta"].detach()
    score = lambda q, b: reconstruction(positions(q), list(p["categories"][b]), alpha, beta, p["gamma"])  # noqa: E731
    return answer(table(score, inputs.query["map"], range(N_BASE)), inputs)


def bdc(inputs: Inputs, image: Tensor) -> Tensor:
    """DeepBDC's vector of a map: the doubly centred distances of channels, upper triangle."""
    channels, t = image.flatten(1), inputs.parameters["pooling.log_scale"]
    distances = table(lambda x, y: (t.exp() * squared(x, y) + 1e-5).sqrt(), channels, channels)
    centred = distances - distances.mean(0) - distances.mean(1)[:, None] + distances.mean()
    return torch.stack([centred[i, j] for i in range(len(channels)) for j in range(i, len(channels))])


def bdc_vectors(inputs: Inputs, side: dict[str, Tensor]) -> list[Tensor]:
    return [bdc(inputs, image) for image in side["map"]]


def meta_deepbdc(inputs: Inputs) -> Answer:
    """Xie et al.: inner products at 1 shot, minus squared distances at more."""
    classes = [mean([bdc(inputs, image) for image in inputs.members(n, "map")]) for n in range(WAY)]
    one_shot = len(inputs.support_y) == WAY
    score = (lambda q, c: (q * c).sum()) if one_shot else (lambda q, c: -squared(q, c))
    return answer(table(score, bdc_vectors(inputs, inputs.query), classes), inputs)


def mml(distribution: str):
    """Chen et al.: the loss adds three levels' cross-entropies by 1, 0.5 and 0.5; answers mix their softmaxes so."""

    def divergence(query: Tensor, images: list[Tensor]) -> Tensor:
        """KL of Gaussians of positions, covariances with 0.01 on the diagonal, as LibFewShot's ADM has it."""

        def gaussian(points):
            centred = [x - mean(points) for x in points]
            covariance = sum(torch.outer(x, x) for x in centred) / (len(points) - 1)
            return mean(points), covariance + 0.01 * identity(len(points[0]))

        (mean_q, cov_q), (mean_n, cov_n) = (
            gaussian(points) for points in (positions(query), [y for image in images for y in positions(image)])
        )
        inverse, d = torch.linalg.inv(cov_n), mean_q - mean_n
        logs = torch.logdet(cov_n) - torch.logdet(cov_q)
        return ((inverse @ cov_q).trace() + d @ inverse @ d - len(d) + logs) / 2

    def equation(inputs: Inputs) -> Answer:
        p, queries = inputs.parameters, range(len(inputs.query_y))

        def embedded(x):
            hidden = (p["graph.inner.weight"] @ x + p["graph.inner.bias"]).clamp(min=0)
            return x + p["graph.outer.weight"] @ hidden + p["graph.outer.bias"]

        crops = [[embedded(x) for image in inputs.members(n, "parts") for x in image] for n in range(WAY)]
        pools = [[y for image in inputs.members(n, "map") for y in positions(image)] for n in range(WAY)]
        part = table(lambda q, n: nearest(list(inputs.query["parts"][q]), crops[n], 1), queries, range(WAY))
        pixel = table(lambda q, n: nearest(positions(inputs.query["map"][q]), pools[n], 1), queries, range(WAY))
        if distribution == "prototype":
            whole = table(lambda q, c: -squared(q, c), inputs.query["vector"], class_means(inputs))
        else:
            images = [inputs.members(n, "map") for n in range(WAY)]
            whole = table(lambda q, n: -divergence(inputs.query["map"][q], images[n]), queries, range(WAY))
        levels = ((1.0, part), (0.5, pixel), (0.5, whole))
        mixed = sum(w * (s - s.exp().sum(1, keepdim=True).log()).exp() for w, s in levels) / 2
        losses = [(1.0, part), (0.5, pixel), (0.5, whole / 64)]
        return mixed.log(), sum(w * cross_entropy(s, inputs.query_y) for w, s in losses)

    return equation


def ten(inputs: Inputs) -> Answer:
    """TADAM's predictor of gains and offsets: h = swish(P x), k = swish(h + M h), k + L k; there is no loss."""
    p = inputs.parameters
    swish = lambda x: x / (1 + (-x).exp())  # noqa: E731
    rows = []
    for x in inputs.query["vector"]:
        h = swish(p["project.weight"] @ x + p["project.bias"])
        k = swish(h + p["middle.weight"] @ h + p["middle.bias"])
        rows.append(k + p["last.weight"] @ k + p["last.bias"])
    return torch.stack(rows), torch.stack(rows).square().sum()


def initial_deviations(channels: list[tuple[int, int]]) -> list[float]:
    """TADAM's ScaledVarianceRandomNormal at factor 0.1 for kernels (side, C_out): sqrt(2 * 0.1 / (k k C_out))."""
    return [math.sqrt(2 * 0.1 / (side * side * out)) for side, out in channels]
