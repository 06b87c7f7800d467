"""Joined systems against one dense solution for each task."""

import torch

from core.ops.joined_systems import JoinedSystems
from tests.methods.small import drawn

TASKS, WAY, SUPPORTS = 3, 4, 6


def test_the_systems_of_the_classes_and_their_sum_hold():
    rows = drawn(TASKS, SUPPORTS, 2)  # M of rank 2
    matrix, ratio, right = (
        rows @ rows.mT,
        drawn(TASKS, WAY, SUPPORTS, seed=1).exp(),
        drawn(TASKS, WAY, SUPPORTS, seed=2),
    )
    x, shared = JoinedSystems(matrix, ratio).solve(right)
    for t in range(TASKS):
        classes = torch.block_diag(*(matrix[t] + torch.diag(ratio[t, m]) for m in range(WAY)))
        sums = torch.eye(SUPPORTS, dtype=matrix.dtype).repeat(WAY, 1)
        dense = torch.cat([torch.cat([classes, sums], 1), torch.cat([sums.T, torch.zeros_like(matrix[0])], 1)])
        expected = torch.linalg.solve(dense, torch.cat([right[t].flatten(), right.new_zeros(SUPPORTS)]))
        torch.testing.assert_close(torch.cat([x[t].flatten(), shared[t, 0]]), expected)


def test_ratios_of_any_size_leave_the_sum_0():
    ratio = 10 ** torch.linspace(0, 100, WAY * SUPPORTS, dtype=torch.float64).view(1, WAY, SUPPORTS)
    ratio[0, 0] = 1  # each support has a class that can answer for the others
    x, _ = JoinedSystems(torch.eye(SUPPORTS, dtype=torch.float64)[None], ratio).solve(drawn(1, WAY, SUPPORTS))
    assert x.isfinite().all()
    assert x.sum(1).abs().max() < 1e-12
