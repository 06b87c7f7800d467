"""TIM on features, and what a user can get wrong; its equations are those of tests/ops/test_mutual_information.py."""

import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.errors import UserError
from core.methods.simpleshot import SimpleShot
from core.methods.tim import TIM
from core.ops.mutual_information import Weights, alternate
from tests.methods.small import conv4
from tests.methods.test_transductive import nonnegative_task

INFO = DataInfo(n_base=6, image_size=16)


def test_tim_reads_normalised_features_without_a_centre():
    task, method = nonnegative_task(), TIM(conv4(8), INFO)
    assert method.needs == ("vector",)
    support, query = (F.normalize(x["vector"], dim=-1) for x in (task.support, task.query))
    expected = alternate(support, task.support_y, query, 3, Weights(0.1, 1.0, 0.1), 15.0, 150)
    torch.testing.assert_close(method(task), expected)


@pytest.mark.parametrize("solver", ["adm", "gd"])
def test_card_16_tim_with_0_iterations_classifies_as_simpleshot(solver):
    task = nonnegative_task()
    nearest = SimpleShot(conv4(8), INFO, norm="L2N")(task)
    torch.testing.assert_close(TIM(conv4(8), INFO, solver=solver, steps=0)(task), 7.5 * nearest)


def test_both_solvers_label_the_queries_alike():
    task = nonnegative_task(tasks=20)
    labels = [TIM(conv4(8), INFO, solver=s, steps=n)(task).argmax(-1) for s, n in (("adm", 150), ("gd", 1000))]
    assert (labels[0] == labels[1]).double().mean() > 0.9


@pytest.mark.parametrize("weights", [[0.1, 1.0], [0.1, -1.0, 0.1], [0.0, 0.0, 0.0], [0.1, 1.0, "much"]])
def test_weights_that_are_none_are_one_sentence(weights):
    with pytest.raises(UserError, match=r"^METHOD\.ARGS\.weights is .*, which must be three numbers of 0 or more, not"):
        TIM(conv4(8), INFO, weights=weights)
