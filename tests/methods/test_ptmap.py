"""PT-MAP against its equations, written as loops over one task in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.episode import DataInfo
from core.errors import UserError
from core.methods.ptmap import PTMAP
from tests.methods.small import UNEQUAL, conv4, task_of
from tests.methods.test_transductive import nonnegative_task
from tests.ops.test_sinkhorn import sinkhorn

INFO = DataInfo(n_base=6, image_size=16)


def method(**arguments):
    return PTMAP(conv4(8), INFO, **arguments)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def centred(x):
    x = unit((x + 1e-6) ** 0.5)
    return unit(x - x.mean(0))


def by_the_card(task, t, sharpness, rate, steps):
    """Card 16, PT-MAP: the assignment of task t after so many moves of the centres."""
    support, query = (centred(x["vector"][t].numpy()) for x in (task.support, task.query))
    labels, queries = task.support_y[t].numpy(), len(query)
    centres = np.stack([support[labels == n].mean(0) for n in range(3)])
    for step in range(steps + 1):
        distances = ((query[:, None] - centres[None]) ** 2).sum(-1)
        p = sinkhorn(-sharpness * distances, np.full(3, queries / 3), 2000)
        if step < steps:
            members = np.concatenate([np.eye(3)[labels], p])
            means = members.T @ np.concatenate([support, query]) / members.sum(0)[:, None]
            centres = centres + rate * (means - centres)
    return p


@pytest.mark.parametrize("counts", [None, UNEQUAL])
def test_card_16_ptmap_is_that_of_its_equations(counts):
    task = nonnegative_task(tasks=1 if counts else 2, counts=counts, queries=15)
    p = method(sharpness=3.0)(task).exp()  # at 10 the loop would need more than its 2000 steps
    for t in range(task.tasks):
        np.testing.assert_allclose(p[t], by_the_card(task, t, 3.0, 0.2, 20), atol=1e-6)


def test_card_16_ptmap_with_rate_0_leaves_the_centres():
    task = nonnegative_task()
    torch.testing.assert_close(method(rate=0.0)(task), method(steps=0)(task))
    assert (method()(task) - method(steps=0)(task)).abs().max() > 1e-3


def test_card_16_the_assignment_has_as_many_queries_of_each_class():
    p = method()(nonnegative_task(queries=13)).exp()
    torch.testing.assert_close(p.sum(1), torch.full((2, 3), 13 / 3, dtype=torch.float64))
    torch.testing.assert_close(p.sum(2), torch.ones(2, 13, dtype=torch.float64))


def test_negative_features_are_one_sentence():
    task = replace(task_of(8), base=None)
    with pytest.raises(UserError) as caught:
        method()(task)
    assert str(caught.value) == (
        "PT-MAP takes the power METHOD.ARGS.power 0.5 of features, but some are negative; set it to 1, or choose a "
        "backbone that ends in a ReLU."
    )
    assert method(power=1.0)(task).isfinite().all()


@pytest.mark.parametrize("power", [0.0, -0.5, float("nan")])
def test_no_power_is_one_sentence(power):
    with pytest.raises(UserError, match=rf"^METHOD\.ARGS\.power is {power}; it must be above 0\.$"):
        method(power=power)
