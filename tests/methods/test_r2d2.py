"""Card 2 of the specifications: R2D2's and LR-D2's identities."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.episode import DataInfo
from core.errors import UserError
from core.methods.r2d2 import LRD2, R2D2
from core.ops.closed_form import fit_reweighted, fit_ridge
from tests.methods.small import close, conv4, shapes, task_of

INFO = DataInfo(n_base=5, image_size=16, way=3)


def r2d2(**options):
    return R2D2(conv4(), INFO, **options).double().eval()


def lrd2(**options):
    return LRD2(conv4(), INFO, **options).double().eval()


def doubled(task):
    """Every support twice, class by class."""
    support = {name: value.repeat_interleave(2, 1) for name, value in task.support.items()}
    return replace(task, support=support, support_y=task.support_y.repeat_interleave(2, 1), shot=2 * task.shot)


@shapes()
def test_r2d2_is_ridge_regression_with_a_penalty_for_each_support(counts):
    method, task = r2d2(penalty=0.3, scale=1.5), task_of(6, counts=counts, tasks=1 if counts else 2)
    for t, logits in enumerate(method(task)):
        x, q = (
            np.pad(part["vector"][t].numpy(), ((0, 0), (0, 1)), constant_values=1)
            for part in (task.support, task.query)
        )
        y = F.one_hot(task.support_y[t], task.way).double().numpy()
        w = x.T @ np.linalg.solve(x @ x.T + len(x) * 0.3 * np.eye(len(x)), y)
        close(logits, 1.5 * q @ w)


def test_card_2_test_2_both_inverse_forms_of_r2d2_agree():
    method, task = r2d2(penalty=0.3, scale=1.0), task_of(6)
    for t, logits in enumerate(method(task)):
        x, q = (
            np.pad(part["vector"][t].numpy(), ((0, 0), (0, 1)), constant_values=1)
            for part in (task.support, task.query)
        )
        y = F.one_hot(task.support_y[t], task.way).double().numpy()
        close(logits, q @ np.linalg.solve(x.T @ x + len(x) * 0.3 * np.eye(x.shape[1]), x.T @ y))


def test_card_2_test_3_doubling_every_support_leaves_r2d2_as_it_is():
    method, task = r2d2(), task_of(6)
    close(method(doubled(task)), method(task).detach().numpy())
    regression = lrd2(penalty=1.0)
    assert (regression(doubled(task)) - regression(task)).abs().max() > 0.05


def test_card_2_test_4_longer_features_are_a_smaller_penalty_up_to_the_bias():
    """With X times t and the bias column times t: w' = w / t, so that the scores stay."""
    task, t = task_of(6), 3.0
    support, query = (
        torch.cat([part["vector"], torch.zeros_like(part["vector"])], 2) for part in (task.support, task.query)
    )
    plain = replace(task, support={"vector": support}, query={"vector": query})
    longer = replace(task, support={"vector": t * support}, query={"vector": t * query})
    without_bias = lambda method, task: method(task) - method(replace(task, query={"vector": 0 * query}))  # noqa: E731
    centred = [
        replace(x, support={"vector": x.support["vector"] * 1e6}, query={"vector": x.query["vector"] * 1e6})
        for x in (plain, longer)
    ]
    near = [without_bias(r2d2(penalty=p), x) for p, x in zip((1e12, 9e12), centred, strict=True)]
    torch.testing.assert_close(near[0], near[1], rtol=1e-8, atol=0)


def test_the_scale_is_learned_and_the_penalty_is_not():
    method, task = r2d2(), task_of(6)
    method.loss(task).value.backward()
    assert [name for name, p in method.named_parameters() if p.grad is not None] == ["scale"]
    assert method.scale.grad.abs() > 0


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("nan")])
def test_a_penalty_that_is_not_above_zero_is_one_sentence(penalty):
    with pytest.raises(UserError, match=rf"^METHOD\.ARGS\.penalty is {penalty}; it must be above 0\.$"):
        r2d2(penalty=penalty)


@shapes()
def test_card_2_test_1_one_step_of_lrd2_is_ridge_regression(counts):
    """With penalty 4 lambda and targets of +-2."""
    task = task_of(6, counts=counts, tasks=1 if counts else 2)
    target = 4 * F.one_hot(task.support_y, task.way).double() - 2
    head = fit_ridge(task.support["vector"], target, 4 * 0.7, bias=True)
    close(lrd2(penalty=0.7, iterations=1)(task), head.logits(task.query["vector"]).numpy())


@pytest.mark.parametrize("iterations", [1, 5])
def test_lrd2_learns_one_class_against_the_others(iterations):
    method, task = lrd2(penalty=0.7, iterations=iterations), task_of(6)
    head = fit_reweighted(task.support["vector"], task.support_y, task.way, 0.7, iterations)
    close(method(task), head.logits(task.query["vector"]).numpy())
    merged = replace(task, support_y=task.support_y.clamp(max=1), way=2, shot=None)
    close(method(merged)[..., 0], method(task)[..., 0].numpy())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"penalty": 0.0}, r"^METHOD\.ARGS\.penalty is 0\.0; it must be above 0\.$"),
        ({"iterations": 0}, r"^METHOD\.ARGS\.iterations is 0; it must be at least 1\.$"),
    ],
)
def test_bad_arguments_of_lrd2_are_one_sentence(options, sentence):
    with pytest.raises(UserError, match=sentence):
        lrd2(**options)
