"""Transductive heads written plainly, one task after another, as the authors' code goes about them.

See bench_transductive.py, which compares ours with them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import cg
from scipy.special import softmax
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from core.episode import Task

WAY, QUERIES = 5, 15


def centred(task: Task, t: int) -> tuple[Tensor, Tensor]:
    """Supports and queries of a task less the mean of the base images, of length 1."""
    centre = task.base["vector"].mean(0)
    return tuple(F.normalize(x["vector"][t] - centre, dim=-1) for x in (task.support, task.query))


def plain_bdcspn(task: Task, t: int) -> Tensor:
    """BD-CSPN for one task."""
    support, query = centred(task, t)
    query, prototypes = rectified(support, query)
    return -torch.cdist(query, prototypes).square()


def rectified(support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """Shifted queries and rectified prototypes of a task, class by class."""
    query = query + support.mean(0) - query.mean(0)
    both = torch.cat([support, query])
    similarity = F.cosine_similarity(both[:, None], support[None], dim=2)
    labels, weights = similarity.argmax(1), (10 * similarity).softmax(1)
    means = [(weights[labels == n, n][:, None] * both[labels == n]).mean(0) for n in range(WAY)]
    return query, torch.stack(means)


def plain_laplacianshot(task: Task, t: int) -> Tensor:
    """LaplacianShot for one task, as its authors' NumPy, SciPy and scikit-learn code goes about it."""
    support, query = centred(task, t)
    query, prototypes = rectified(support, query)
    query, prototypes = query.numpy(), prototypes.numpy()
    unary = np.linalg.norm(prototypes[:, None] - query, axis=-1).T ** 2
    nearest = NearestNeighbors(n_neighbors=3).fit(query).kneighbors(query)[1][:, 1:].flatten()
    row = np.repeat(np.arange(len(query)), 2)
    weights = csc_matrix((np.ones(len(row)), (row, nearest)), shape=(len(query), len(query)))
    labels, before = softmax(-unary, axis=1), np.inf
    for step in range(20):
        labels = softmax(0.7 * weights.dot(labels) - unary, axis=1)
        pairs = 0.7 * weights.dot(labels) * labels
        energy = (labels * np.log(np.maximum(labels, 1e-20)) + unary * labels - pairs).sum()
        if step > 1 and abs(energy - before) <= 1e-6 * abs(before):
            break
        before = energy
    return torch.from_numpy(labels)


def normalised(task: Task, t: int) -> tuple[Tensor, Tensor]:
    """Supports and queries of a task, of length 1."""
    return tuple(F.normalize(x["vector"][t], dim=-1) for x in (task.support, task.query))


def logits_of(z: Tensor, rows: Tensor) -> Tensor:
    """TIM's logits."""
    return 15 * (z @ rows.T - rows.square().sum(1) / 2 - z.square().sum(1)[:, None] / 2)


def plain_adm(task: Task, t: int) -> Tensor:
    """TIM by alternating directions for one task."""
    support, query = normalised(task, t)
    target, rows = torch.eye(WAY), support.clone()
    of_supports, of_queries = 0.1 / 1.1, len(support) / len(query)
    for _ in range(150):
        sharp = logits_of(query, rows).softmax(1) ** 1.1
        q = sharp / sharp.sum(0).sqrt()
        q = q / q.sum(1, keepdim=True)
        p_s, p_q = logits_of(support, rows).softmax(1), logits_of(query, rows).softmax(1)
        total = of_supports * (target.T @ support + rows * p_s.sum(0)[:, None] - p_s.T @ support)
        total = total + of_queries * (q.T @ query + rows * p_q.sum(0)[:, None] - p_q.T @ query)
        rows = total / (of_supports * target.sum(0) + of_queries * q.sum(0))[:, None]
    return logits_of(query, rows)


def plain_descent(entropy: Callable[[Tensor], Tensor], weights: tuple[float, float, float]):
    """TIM by Adam for one task, with this entropy of rows [n, N]."""

    def run(task: Task, t: int) -> Tensor:
        support, query = normalised(task, t)
        rows = support.clone().requires_grad_()
        adam = torch.optim.Adam([rows], lr=1e-4)
        with torch.enable_grad():
            for _ in range(1000):
                p = logits_of(query, rows).softmax(1)
                loss = weights[0] * F.cross_entropy(logits_of(support, rows), torch.arange(WAY))
                loss = loss - weights[1] * entropy(p.mean(0)) + weights[2] * entropy(p).mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
        return logits_of(query, rows.detach())

    return run


def shannon(p: Tensor) -> Tensor:
    """Shannon's entropy."""
    return -(p * (p + 1e-12).log()).sum(-1)


def tsallis(p: Tensor) -> Tensor:
    """Tsallis's entropy at alpha 2."""
    return 1 - p.square().sum(-1)


def plain_ptmap(task: Task, t: int) -> Tensor:
    """PT-MAP for one task."""
    vectors = torch.cat([task.support["vector"][t], task.query["vector"][t]])
    vectors = F.normalize(torch.linalg.qr(((vectors + 1e-6) ** 0.5).T).R.T, dim=1)
    support, query = (F.normalize(part - part.mean(0), dim=1) for part in vectors.split([WAY, WAY * QUERIES]))
    target, centres = torch.eye(WAY), support.clone()
    for step in range(21):
        p = sinkhorn((-10 * torch.cdist(query, centres).square()).exp())
        if step < 20:
            members = torch.cat([target, p])
            means = members.T @ torch.cat([support, query]) / members.sum(0)[:, None]
            centres = centres + 0.2 * (means - centres)
    return p


def sinkhorn(p: Tensor, columns: float | Tensor = QUERIES) -> Tensor:
    """Rows to 1 and columns to the queries of a class, in turns."""
    p, sums = p / p.sum(), torch.zeros(len(p))
    for _ in range(1000):
        if (sums - p.sum(1)).abs().max() <= 1e-6:
            break
        sums = p.sum(1)
        p = p / sums[:, None]
        p = p * (columns / p.sum(0))
    return p


def plain_ilpc(task: Task, t: int) -> Tensor:
    """iLPC for one task, with SciPy's conjugate gradients and PyTorch's SGD."""
    vectors, left = torch.cat(normalised(task, t)), torch.arange(WAY, WAY * (1 + QUERIES))
    known, answers = torch.arange(WAY), F.pad(torch.eye(WAY), (0, 0, 0, WAY * QUERIES))
    while len(left):
        order = torch.cat([known, left])
        labels = answers[order]
        scores = spread(vectors[order], labels)[len(known) :]
        p = sinkhorn((scores / scores.sum(1, keepdim=True).clamp(min=1e-12)) ** 3 + 1e-30, 1 + QUERIES - labels.sum(0))
        labels[len(known) :] = F.one_hot(p.argmax(1), WAY)
        losses = learned(vectors[order], labels, F.normalize(answers[known].T @ vectors[known]))[len(known) :]
        easiest = [losses.masked_fill(p.argmax(1) != n, torch.inf).argsort()[:3] for n in range(WAY)]
        chosen = torch.cat([few[p.argmax(1)[few] == n] for n, few in enumerate(easiest)])
        chosen = chosen if len(chosen) >= WAY else torch.arange(len(left))
        answers[left[chosen]] = labels[len(known) :][chosen]
        known, left = torch.cat([known, left[chosen]]), left[~torch.isin(torch.arange(len(left)), chosen)]
    return answers[WAY:]


def spread(vectors: Tensor, labels: Tensor) -> Tensor:
    """Labels propagated over the graph of 20 nearest neighbours."""
    cosines = (vectors @ vectors.T).fill_diagonal_(-1).double().numpy()
    near = np.argpartition(-cosines, 20, axis=1)[:, :20]
    weights = np.zeros_like(cosines)
    np.put_along_axis(weights, near, np.take_along_axis(cosines, near, 1).clip(0) ** 3, 1)
    weights = weights + weights.T
    scale = 1 / np.sqrt(weights.sum(1))
    matrix = csc_matrix(np.eye(len(cosines)) - 0.8 * scale[:, None] * weights * scale)
    columns = [cg(matrix, column, rtol=1e-6, maxiter=20)[0] for column in labels.double().T.numpy()]
    return torch.from_numpy(np.stack(columns, 1).clip(0)).float()


def learned(vectors: Tensor, labels: Tensor, start: Tensor) -> Tensor:
    """The mean loss of each vector while a linear layer learns all."""
    layer, total = torch.nn.Linear(vectors.shape[1], WAY), torch.zeros(len(vectors))
    layer.weight.data, layer.bias.data = start.clone(), torch.zeros(WAY)
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    with torch.enable_grad():
        for _ in range(1000):
            losses = F.cross_entropy(layer(vectors), labels.argmax(1), reduction="none")
            sgd.zero_grad()
            losses.mean().backward()
            sgd.step()
            total += losses.detach()
    return total / 1000


def plain_epnet(task: Task, t: int) -> Tensor:
    """EPNet for one task."""
    vectors = torch.cat([task.support["vector"][t], task.query["vector"][t]])
    shares = F.normalize(propagator(propagator(vectors, 0.5) @ vectors, 0.2), p=1, dim=1)
    return (shares[WAY:, :WAY] + 1e-6).log()


def propagator(x: Tensor, alpha: float) -> Tensor:
    """The inverse by which vectors and labels spread."""
    squares = ((x[:, None] - x[None]) ** 2).sum(-1) / x.shape[1] ** 0.5
    weights = (-squares / squares[squares != 0].std()).exp() * (1 - torch.eye(len(x)))
    scale = 1 / (weights.sum(1) + 1e-4).sqrt()
    return torch.linalg.inv(torch.eye(len(x)) - alpha * scale[:, None] * weights * scale)
