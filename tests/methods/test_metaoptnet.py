"""Card 1 of the specifications: MetaOptNet's identities."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.errors import UserError
from core.methods.metaoptnet import MetaOptNetRR, MetaOptNetSVM
from tests.methods.small import close, conv4, shapes, task_of
from tests.parity.closed_form_equations import dense_svm

INFO = DataInfo(n_base=5, image_size=16, way=3)


def made(method, **options):
    return method(conv4(), INFO, **options).double().eval()


@shapes()
def test_card_1_test_6_both_forms_of_ridge_regression_agree(counts):
    """2 (X^T X + 50 I)^-1 X^T Y, the form with d unknowns."""
    method, task = made(MetaOptNetRR, scale=1.5), task_of(6, counts=counts, tasks=1 if counts else 2)
    for t, logits in enumerate(method(task)):
        x, q = task.support["vector"][t].numpy(), task.query["vector"][t].numpy()
        y = F.one_hot(task.support_y[t], task.way).double().numpy()
        close(logits, 1.5 * q @ (2 * np.linalg.solve(x.T @ x + 50 * np.eye(x.shape[1]), x.T @ y)))


def test_the_penalty_of_ridge_regression_does_not_follow_the_supports():
    task = task_of(6, way=2, shot=1)
    near_zero = made(MetaOptNetRR, penalty=1e9)(task)
    x, q = task.support["vector"], task.query["vector"]
    torch.testing.assert_close(near_zero * 1e9, 2 * q @ x.transpose(1, 2), rtol=1e-6, atol=1e-6)


def test_a_penalty_that_is_not_above_zero_is_one_sentence():
    with pytest.raises(UserError, match=r"^METHOD\.ARGS\.penalty is 0\.0; it must be above 0\.$"):
        made(MetaOptNetRR, penalty=0.0)


@shapes()
@pytest.mark.parametrize(("iterations", "passes"), [(0, 30), (3, 3)])
def test_logits_of_the_support_vector_machine(counts, iterations, passes):
    method = made(MetaOptNetSVM, scale=1.5, iterations=iterations)
    task = task_of(6, counts=counts, tasks=1 if counts else 2)
    for t, logits in enumerate(method(task)):
        x, q = task.support["vector"][t], task.query["vector"][t]
        duals = dense_svm(x @ x.T, F.one_hot(task.support_y[t], task.way).double(), 0.1, passes)
        np.testing.assert_allclose(logits.detach(), 1.5 * q @ x.T @ duals, rtol=0, atol=1e-8)


def test_card_1_test_1_the_logits_of_a_query_sum_to_zero():
    logits = made(MetaOptNetSVM)(task_of(6, way=5, shot=3))
    assert logits.abs().max() > 0.1
    assert logits.sum(2).abs().max() < 1e-12


def test_training_solves_every_machine():
    method, task = made(MetaOptNetSVM, iterations=1), task_of(6)
    early, solved = method(task), made(MetaOptNetSVM)(task)
    assert (early - solved).abs().max() > 1e-2
    assert torch.equal(method.train()(task), solved)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bound": 0.0}, r"^METHOD\.ARGS\.bound is 0\.0; it must be above 0\.$"),
        ({"bound": -0.1}, r"^METHOD\.ARGS\.bound is -0\.1; it must be above 0\.$"),
        ({"iterations": -1}, r"^METHOD\.ARGS\.iterations is -1; it must be at least 0\.$"),
    ],
)
def test_bad_arguments_are_one_sentence(options, sentence):
    with pytest.raises(UserError, match=sentence):
        made(MetaOptNetSVM, **options)
