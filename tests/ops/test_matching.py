"""Pairings against a loop and against SciPy's assignment."""

import torch
from scipy.optimize import linear_sum_assignment

from core.ops.matching import best_matching, greedy_matching
from tests.methods.small import drawn


def test_greedy_matching_takes_the_best_free_row_class_by_class():
    scores = drawn(4, 5, 7)
    given = scores.clone()
    for task, rows in zip(scores, greedy_matching(scores), strict=True):
        free = set(range(7))
        for n in range(5):
            best = max(free, key=lambda j, n=n: task[n, j])
            assert rows[n] == best
            free.remove(best)
    assert torch.equal(scores, given)


def test_best_matching_is_the_assignment():
    for ways, rows in ((5, 7), (4, 4), (1, 3)):
        scores = drawn(6, ways, rows)
        expected = [linear_sum_assignment(task, maximize=True)[1].tolist() for task in scores.numpy()]
        assert best_matching(scores).tolist() == expected


def test_best_matching_pairs_each_row_once_among_equal_scores():
    rows = best_matching(torch.zeros(2, 3, 5))
    assert all(len(set(task)) == 3 for task in rows.tolist())


def test_the_pairings_differ():
    scores = torch.tensor([[[2.0, 1.9], [1.9, 0.0]]])
    assert greedy_matching(scores).tolist() == [[0, 1]]
    assert best_matching(scores).tolist() == [[1, 0]]
