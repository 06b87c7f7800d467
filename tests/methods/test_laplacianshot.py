"""LaplacianShot: what is left of it without its parts; its updates are those of tests/ops/test_neighbours.py."""

import pytest
import torch

from core.episode import DataInfo
from core.errors import UserError
from core.methods.bdcspn import BDCSPN
from core.methods.laplacianshot import LaplacianShot
from core.methods.simpleshot import SimpleShot
from tests.methods.small import conv4
from tests.methods.test_transductive import nonnegative_task

INFO = DataInfo(n_base=6, image_size=16)


def method(**arguments):
    return LaplacianShot(conv4(8), INFO, **arguments)


def test_card_16_laplacianshot_without_pull_is_the_nearest_rectified_mean():
    task = nonnegative_task()
    torch.testing.assert_close(method(pull=[[1, 0.0]])(task), BDCSPN(conv4(8), INFO)(task))


def test_laplacianshot_without_pull_and_rectification_is_simpleshot():
    task = nonnegative_task()
    torch.testing.assert_close(method(pull=[[1, 0.0]], rectify=False)(task), SimpleShot(conv4(8), INFO)(task))


def test_two_neighbours_pull_a_query_by_at_most_twice_lambda():
    task = nonnegative_task()
    plain = SimpleShot(conv4(8), INFO)(task)
    pulled = method(pull=[[1, 0.7]], rectify=False)(task) - plain
    assert (pulled >= -1e-6).all()
    torch.testing.assert_close(pulled.sum(-1), torch.full((2, 12), 1.4, dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_published_pull_follows_the_shot():
    one, five = (nonnegative_task(shot=shot) for shot in (1, 5))
    torch.testing.assert_close(method()(one), method(pull=[[1, 0.7]])(one))
    torch.testing.assert_close(method()(five), method(pull=[[1, 0.3]])(five))


def test_no_neighbours_are_one_sentence():
    with pytest.raises(UserError, match=r"^METHOD\.ARGS\.neighbours is 0; it must be at least 1\.$"):
        method(neighbours=0)


def test_steps_that_follow_change_little():
    task = nonnegative_task()
    assert (method(steps=20)(task) - method(steps=200)(task)).abs().max() < 0.05
    torch.testing.assert_close(method(steps=0, rectify=False)(task), SimpleShot(conv4(8), INFO)(task))
