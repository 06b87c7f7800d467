"""EPNet against its equations, written as loops over one task in float64."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.epnet import EPNet
from tests.methods.small import UNEQUAL, conv4, drawn, task_of
from tests.methods.test_transductive import nonnegative_task

INFO = DataInfo(n_base=6, image_size=16)


def method(**arguments):
    return EPNet(conv4(8), INFO, **arguments).double()


def propagated_naively(vectors, alpha):
    """Card 16, EPNet: (I - alpha S)^-1 for vectors [n, d]."""
    n, d = vectors.shape
    squares = [[sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / math.sqrt(d) for y in vectors] for x in vectors]
    spread = statistics.stdev(squares[i][j] for i in range(n) for j in range(n) if i != j)
    weights = [[0 if i == j else math.exp(-squares[i][j] / spread) for j in range(n)] for i in range(n)]
    sums = [1e-4 + sum(row) for row in weights]
    s = [[weights[i][j] / math.sqrt(sums[i] * sums[j]) for j in range(n)] for i in range(n)]
    return np.linalg.inv(np.eye(n) - alpha * np.array(s))


def by_the_card(task, t, alpha, label_alpha):
    vectors = np.concatenate([x["vector"][t].numpy() for x in (task.support, task.query)])
    moved = propagated_naively(vectors, alpha) @ vectors
    spreading = propagated_naively(moved, label_alpha)
    spreading = spreading / np.abs(spreading).sum(1, keepdims=True)
    labels = task.support_y[t].numpy()
    return np.log(spreading[len(labels) :, : len(labels)] @ np.eye(3)[labels] + 1e-6)


@pytest.mark.parametrize("counts", [None, UNEQUAL])
@pytest.mark.parametrize("alphas", [(0.5, 0.2), (0.9, 0.7)])
def test_card_16_epnet_is_that_of_its_equations(counts, alphas):
    task = nonnegative_task(tasks=1 if counts else 2, counts=counts, queries=15)
    logits = method(alpha=alphas[0], label_alpha=alphas[1])(task)
    for t in range(task.tasks):
        np.testing.assert_allclose(logits[t].detach(), by_the_card(task, t, *alphas), atol=1e-9)


def test_card_16_epnet_without_propagation_knows_nothing_of_the_queries():
    logits = method(label_alpha=0.0)(nonnegative_task())
    torch.testing.assert_close(logits, torch.full_like(logits, math.log(1e-6)))


def test_card_16_epnet_moves_the_vectors_of_a_batch_before_they_are_classified():
    learner, vectors = method(), drawn(9, 8)
    logits = learner.batch_logits(Batch({"vector": vectors}, torch.zeros(9, dtype=torch.long)))
    expected = propagated_naively(vectors.numpy(), 0.5) @ vectors.numpy()
    torch.testing.assert_close(logits, learner.classifier(torch.from_numpy(expected)))


def test_the_gradient_passes_the_propagation():
    task, learner = task_of(4, tasks=1), method()

    def logits(support, query):
        return learner(replace(task, support={"vector": support}, query={"vector": query}))

    leaves = [x["vector"].clone().requires_grad_() for x in (task.support, task.query)]
    assert torch.autograd.gradcheck(logits, leaves)


def test_the_loss_of_an_episode_counts_the_base_classes_of_its_images():
    task = replace(nonnegative_task(), class_ids=torch.tensor([[4, 0, 2], [1, 5, 3]]))
    learner = method(base_weight=0.5)
    vectors = torch.cat([task.support["vector"], task.query["vector"]], dim=1)
    rows = [
        F.cross_entropy(learner.classifier(vectors[t, i]), task.class_ids[t, label])
        for t in range(2)
        for i, label in enumerate([*task.support_y[t], *task.query_y[t]])
    ]
    difference = learner.loss(task).value - method(base_weight=0.0).loss(task).value
    torch.testing.assert_close(difference, 0.5 * torch.stack(rows).mean())


def test_a_query_alone_is_refused():
    with pytest.raises(UserError, match="EPNet classifies the queries of a task together, but this one has 1"):
        method()(nonnegative_task(queries=1))


@pytest.mark.parametrize("name", ["alpha", "label_alpha"])
def test_a_share_of_1_is_refused(name):
    with pytest.raises(UserError, match=f"METHOD.ARGS.{name} is 1.0"):
        method(**{name: 1.0})
