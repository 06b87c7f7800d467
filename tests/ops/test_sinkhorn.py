"""Balanced assignments against Sinkhorn's algorithm, written as loops over one task in float64."""

import numpy as np
import pytest
import torch

from core.ops import sinkhorn as sinkhorn_module
from core.ops.sinkhorn import balanced
from tests.methods.small import drawn


def assigned(logits, columns):
    """P [T, Q, N] for logits [T, Q, N]."""
    return balanced(logits.mT, columns).shares.mT


def sinkhorn(logits, columns, steps=20000):
    """Card 16, PT-MAP: rows to 1 and columns to their sums, in turns."""
    p = np.exp(logits - logits.max())
    for _ in range(steps):
        p = p / p.sum(1, keepdims=True)
        p = p * (columns / p.sum(0, keepdims=True))
    return p


def logits_of(kind):
    """Scattered, in clusters as trained features give them, and where nearly all queries are of one class."""
    if kind == "scattered":
        return 3 * drawn(4, 15, 5)
    near = torch.arange(15) % 5 if kind == "clusters" else torch.tensor([0] * 13 + [1, 2])
    closeness = torch.eye(5, dtype=torch.float64)[near]
    return -4 * (1.5 * (1 - closeness) + 0.3 * drawn(4, 15, 5).abs())


@pytest.mark.parametrize("kind", ["scattered", "clusters", "one class"])
def test_card_16_assignments_are_the_limit_of_sinkhorns_algorithm(kind):
    logits, columns = logits_of(kind), torch.full((4, 5), 3.0, dtype=torch.float64)
    p = assigned(logits, columns)
    for t in range(4):
        np.testing.assert_allclose(p[t], sinkhorn(logits[t].numpy(), columns[t].numpy()), atol=1e-7)


@pytest.mark.parametrize("kind", ["scattered", "clusters", "one class"])
def test_card_16_sinkhorn_margins(kind):
    columns = torch.tensor([1.0, 0.5, 7.5, 4.0, 2.0]).expand(4, 5)
    p = assigned(logits_of(kind), columns)
    assert p.dtype == torch.float64
    torch.testing.assert_close(p.sum(2), torch.ones(4, 15, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(p.sum(1), columns.double(), atol=1e-8, rtol=0)


def test_each_task_stops_by_itself():
    logits = torch.cat([logits_of("scattered"), logits_of("one class")])
    columns = torch.full((8, 5), 3.0)
    alone = torch.cat([assigned(logits[t : t + 1], columns[:1]) for t in range(8)])
    torch.testing.assert_close(assigned(logits, columns), alone, atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", ["clusters", "one class"])
def test_a_start_saves_steps_and_changes_nothing(kind, monkeypatch):
    logits, columns = logits_of(kind), torch.full((4, 5), 3.0)
    assignment = balanced(logits.mT, columns)
    moved = logits + 1e-4 * drawn(4, 15, 5, seed=1)
    monkeypatch.setattr(sinkhorn_module, "STEPS", 3)
    again = balanced(moved.mT, columns, assignment.potential).shares.mT
    monkeypatch.undo()
    torch.testing.assert_close(again, assigned(moved, columns), atol=1e-8, rtol=0)


def test_few_steps_are_enough(monkeypatch):
    logits, columns = logits_of("one class"), torch.full((4, 5), 3.0)
    limit = assigned(logits, columns)
    monkeypatch.setattr(sinkhorn_module, "STEPS", 30)
    assert torch.equal(assigned(logits, columns), limit)


def test_an_assignment_with_these_margins_is_left_as_it_is():
    p = assigned(logits_of("scattered"), torch.full((4, 5), 3.0))
    torch.testing.assert_close(assigned(p.log(), torch.full((4, 5), 3.0)), p)


def test_queries_that_do_not_count_change_nothing():
    logits, counted = logits_of("clusters"), torch.arange(15).expand(4, -1) < torch.tensor([[10], [12], [15], [9]])
    columns = (counted.sum(1, keepdim=True) / 5).expand(4, 5)
    shares = balanced(logits.mT, columns, counted=counted).shares.mT
    for t in range(4):
        expected = assigned(logits[t : t + 1, counted[t]], columns[t : t + 1])[0]
        torch.testing.assert_close(shares[t, counted[t]], expected)
        assert (shares[t, ~counted[t]] == 0).all()
