"""iLPC against its rounds, written as loops over one task in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.errors import UserError
from core.methods.ilpc import ILPC
from tests.methods.small import conv4
from tests.methods.test_transductive import nonnegative_task
from tests.ops.test_propagation import by_the_card
from tests.ops.test_sinkhorn import sinkhorn

INFO = DataInfo(n_base=6, image_size=16)
WAY, STEPS = 3, 30


def method(**arguments):
    return ILPC(conv4(8), INFO, **{"cleaning_steps": STEPS} | arguments)


def cleaned_losses(vectors, labels, start):
    """Mean losses of a linear layer over its full-batch steps."""
    layer = torch.nn.Linear(vectors.shape[1], WAY).double()
    with torch.no_grad():
        layer.weight.copy_(start)
        layer.bias.zero_()
    sgd = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    total = torch.zeros(len(vectors), dtype=torch.float64)
    for _ in range(STEPS):
        losses = F.cross_entropy(layer(vectors), labels, reduction="none")
        total += losses.detach() / STEPS
        sgd.zero_grad()
        losses.mean().backward()
        sgd.step()
    return total


def labels_by_the_card(task, t):
    """Card 16, iLPC: propagate, balance, train, and move the three easiest queries of each class to the supports."""
    vectors = F.normalize(torch.cat([task.support["vector"][t], task.query["vector"][t]]), dim=1)
    known = dict(enumerate(task.support_y[t].tolist()))
    n, n_s = len(vectors), len(known)
    spreading = by_the_card((vectors @ vectors.T).numpy(), min(20, n - 1), 3.0, 0.8)
    while len(known) < n:
        remaining = [i for i in range(n) if i not in known]
        target = np.zeros((n, WAY))
        for i, y in known.items():
            target[i, y] = 1
        scores = np.maximum(spreading @ target, 0)[remaining]
        scores = (scores / scores.sum(1, keepdims=True)) ** 3
        moved = [sum(y == c for i, y in known.items() if i >= n_s) for c in range(WAY)]
        p = sinkhorn(np.log(scores), np.array([(n - n_s) / WAY - m for m in moved]), 3000)
        guess = dict(zip(remaining, p.argmax(1).tolist(), strict=True))
        of_all = torch.tensor([(known | guess)[i] for i in range(n)])
        sums = torch.stack([vectors[[i for i, y in known.items() if y == c]].sum(0) for c in range(WAY)])
        losses = cleaned_losses(vectors, of_all, F.normalize(sums, dim=1))
        chosen = []
        for c in range(WAY):
            chosen += sorted((i for i in remaining if guess[i] == c), key=lambda i: float(losses[i]))[:3]
        known |= {i: guess[i] for i in (chosen if len(chosen) >= WAY else remaining)}
    return [known[i] for i in range(n_s, n)]


@pytest.mark.parametrize("queries", [15, 24])
def test_card_16_ilpc_labels_queries_as_its_rounds_do(queries):
    task = nonnegative_task(tasks=4, queries=queries)
    labels = method()(task).argmax(-1)
    assert labels.tolist() == [labels_by_the_card(task, t) for t in range(4)]


def test_card_16_as_many_queries_are_given_to_each_class():
    labels = method()(nonnegative_task(tasks=10, queries=15)).argmax(-1)
    assert (F.one_hot(labels, 3).sum(1) - 5).abs().max() <= 1


def test_more_moved_than_there_are_ends_after_one_round(monkeypatch):
    rounds = []
    kept = ILPC._round
    monkeypatch.setattr(ILPC, "_round", lambda self, state: (rounds.append(1), kept(self, state)))
    assert method(moved=100)(nonnegative_task()).isfinite().all()
    assert len(rounds) == 1


@pytest.mark.parametrize(
    ("argument", "value", "sentence"),
    [
        ("spread", 1.0, r"^METHOD\.ARGS\.spread is 1\.0; it must be at least 0 and below 1\.$"),
        ("neighbours", 0, r"^METHOD\.ARGS\.neighbours is 0; it must be at least 1\.$"),
        ("moved", 0, r"^METHOD\.ARGS\.moved is 0; it must be at least 1\.$"),
    ],
)
def test_what_cannot_work_is_one_sentence(argument, value, sentence):
    with pytest.raises(UserError, match=sentence):
        method(**{argument: value})
