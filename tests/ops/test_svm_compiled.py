"""The compiled steps against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from core.ops.svm import CAREFUL, ENOUGH, PASSES, SOLVED, STALLED, _solve
from core.ops.svm_compiled import solve
from tests.methods.small import drawn


def problem(tasks, way, shot, width):
    x = drawn(tasks, way * shot, width) * torch.logspace(-1, 1, tasks).double()[:, None, None]
    matrix = x @ x.transpose(1, 2) + torch.eye(way * shot)
    y = F.one_hot(torch.arange(way).repeat_interleave(shot), way).double().T
    return matrix, y.expand(tasks, -1, -1).contiguous()


@pytest.mark.parametrize("passes", [0, 1, 3, 8])
@pytest.mark.parametrize(("tasks", "way", "shot"), [(1, 3, 2), (8, 2, 3), (11, 5, 1), (3, 4, 4)])
def test_equals_pytorchs_steps(tasks, way, shot, passes):
    matrix, y = problem(tasks, way, shot, 6)
    solution = solve(matrix, y, 0.1, passes, PASSES, SOLVED, ENOUGH, STALLED, CAREFUL)
    expected = _solve(matrix, y, 0.1, passes)
    for name, one, other in zip(("A", "slack", "multiplier"), solution, expected, strict=False):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}")
    if passes:
        torch.testing.assert_close(solution[3], expected[3], rtol=1e-6, atol=1e-9)
    else:
        assert solution[3].max() <= 1e-11


def test_a_task_alone_is_the_task_among_others():
    matrix, y = problem(10, 3, 2, 5)
    together = solve(matrix, y, 0.1, 0, PASSES, SOLVED, ENOUGH, STALLED, CAREFUL)
    for t in range(10):
        alone = solve(matrix[t : t + 1], y[t : t + 1], 0.1, 0, PASSES, SOLVED, ENOUGH, STALLED, CAREFUL)
        assert all(torch.equal(one[0], all_of[t]) for one, all_of in zip(alone, together, strict=True))


def test_a_task_that_cannot_be_solved_leaves_the_others_as_they_are():
    matrix, y = problem(4, 3, 2, 5)
    broken = matrix.clone()
    broken[1] = torch.nan
    solution, expected = (solve(m, y, 0.1, 0, PASSES, SOLVED, ENOUGH, STALLED, CAREFUL) for m in (broken, matrix))
    assert not solution[3][1] <= 1e-6
    for t in (0, 2, 3):
        assert torch.equal(solution[0][t], expected[0][t])
