"""Logistic regression of all tasks at once against SciPy's L-BFGS on the weights of each task."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from core.ops.logistic import _class_weights, fit_logistic


def by_scipy(support, labels, way, inverse_penalty):
    """Weights [N, d] and biases [N] that minimise the penalised loss, in float64."""
    d = support.shape[1]
    target = np.eye(way)[labels]
    weigh = (len(labels) / way / target.sum(0))[labels][:, None]  # classes weigh the same

    def loss(x):
        weight, bias = x[: way * d].reshape(way, d), x[way * d :]
        logits = support @ weight.T + bias
        logits -= logits.max(1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        error = inverse_penalty * weigh * (np.exp(log_p) - target)
        value = (weight**2).sum() / 2 - inverse_penalty * (weigh * target * log_p).sum()
        return value, np.concatenate([(error.T @ support + weight).ravel(), error.sum(0)])

    minimum = minimize(
        loss,
        np.zeros(way * (d + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": 1e-10, "ftol": 1e-16, "maxiter": 5000},
    )
    return minimum.x[: way * d].reshape(way, d), minimum.x[way * d :]


@pytest.mark.parametrize("shot", [1, 5])
@pytest.mark.parametrize("inverse_penalty", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("width", [3, 40])
def test_finds_the_minimum(shot, inverse_penalty, width):
    generator = torch.Generator().manual_seed(shot)
    support = torch.randn(2, 4 * shot, width, generator=generator, dtype=torch.float64)
    labels = torch.arange(4).repeat_interleave(shot).expand(2, -1)
    query = torch.randn(2, 5, width, generator=generator, dtype=torch.float64)
    head = fit_logistic(support, labels, 4, inverse_penalty)
    for t in range(2):
        weight, bias = by_scipy(support[t].numpy(), labels[t].numpy(), 4, inverse_penalty)
        expected = query[t].numpy() @ weight.T + bias
        np.testing.assert_allclose(head.logits(query)[t].softmax(-1), torch.from_numpy(expected).softmax(-1), atol=2e-5)


@pytest.mark.parametrize("inverse_penalty", [0.1, 1.0, 30.0])
def test_classes_of_unequal_shots_weigh_the_same(inverse_penalty):
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(3).repeat_interleave(torch.tensor([1, 6, 2]))
    support = torch.nn.functional.normalize(torch.randn(2, 9, 12, generator=generator, dtype=torch.float64), dim=-1)
    head = fit_logistic(support, labels.expand(2, -1), 3, inverse_penalty)
    for t in range(2):
        weight, bias = by_scipy(support[t].numpy(), labels.numpy(), 3, inverse_penalty)
        np.testing.assert_allclose(head.weight[t], torch.from_numpy(weight), atol=1e-4)
        np.testing.assert_allclose(head.bias[t], torch.from_numpy(bias - bias.mean()), atol=1e-4)


@pytest.mark.parametrize(("way", "shot"), [(2, 1), (3, 7), (5, 5), (20, 3)])
def test_weights_of_equal_shots_are_exactly_1(way, shot):
    target = torch.nn.functional.one_hot(torch.arange(way).repeat_interleave(shot), way).double()[None]
    assert torch.equal(_class_weights(target), torch.ones(1, way * shot, 1, dtype=torch.float64))


def test_a_class_of_many_supports_does_not_get_all_answers():
    """Twenty supports beside two of each other class, a unit vector apart with noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat_interleave(torch.tensor([2, 2, 2, 2, 20]))
    places = torch.eye(5, 64)

    def near(y):
        return torch.nn.functional.normalize(places[y] + 0.1 * torch.randn(len(y), 64, generator=generator), dim=-1)[
            None
        ]

    head, truth = fit_logistic(near(labels), labels[None], 5), torch.arange(5).repeat(40)
    assert (head.logits(near(truth))[0].argmax(1) == truth).double().mean() > 0.7


@pytest.mark.parametrize("inverse_penalty", [30.0, 100.0, 300.0])
def test_many_classes_and_a_small_penalty_do_not_lead_too_far(inverse_penalty):
    """Whole Newton steps from zero end at weights a hundred times too large here."""
    generator = torch.Generator().manual_seed(0)
    support = torch.nn.functional.normalize(torch.randn(2, 20, 40, generator=generator, dtype=torch.float64), dim=-1)
    labels = torch.arange(20).expand(2, -1)
    head = fit_logistic(support, labels, 20, inverse_penalty)
    for t in range(2):
        weight, bias = by_scipy(support[t].numpy(), labels[t].numpy(), 20, inverse_penalty)
        np.testing.assert_allclose(head.weight[t], torch.from_numpy(weight), atol=1e-4)
        np.testing.assert_allclose(head.bias[t], torch.from_numpy(bias), atol=1e-4)


@pytest.mark.parametrize("inverse_penalty", [0.1, 1.0, 30.0])
def test_equals_scikit_learn(inverse_penalty):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    generator = torch.Generator().manual_seed(1)
    support = torch.nn.functional.normalize(torch.randn(3, 25, 64, generator=generator), dim=-1)
    query = torch.nn.functional.normalize(torch.randn(3, 30, 64, generator=generator), dim=-1)
    labels = torch.arange(5).repeat_interleave(5).expand(3, -1)
    head = fit_logistic(support, labels, 5, inverse_penalty)
    for t in range(3):
        scikit = linear_model.LogisticRegression(C=inverse_penalty, tol=1e-10, max_iter=10000)
        scikit.fit(support[t].double().numpy(), labels[t].numpy())
        expected = torch.from_numpy(scikit.predict_proba(query[t].double().numpy()))
        torch.testing.assert_close(head.logits(query)[t].softmax(-1).double(), expected, rtol=0, atol=2e-6)
        assert torch.equal(head.logits(query)[t].argmax(-1), expected.argmax(-1))


def test_equal_supports_are_no_trouble():
    support = torch.ones(1, 6, 4, dtype=torch.float64)
    labels = torch.arange(3).repeat_interleave(2)[None]
    logits = fit_logistic(support, labels, 3).logits(torch.ones(1, 1, 4, dtype=torch.float64))
    torch.testing.assert_close(logits.softmax(-1), torch.full((1, 1, 3), 1 / 3, dtype=torch.float64))


def test_tasks_at_once_equal_tasks_alone():
    support = torch.randn(5, 10, 8)
    labels = torch.arange(5).repeat_interleave(2).expand(5, -1)
    together = fit_logistic(support, labels, 5)
    for t in range(5):
        alone = fit_logistic(support[t : t + 1], labels[t : t + 1], 5)
        torch.testing.assert_close(together.weight[t], alone.weight[0])


def test_supports_of_length_0_leave_the_answer_to_the_biases():
    """As of a network that died: chance at equal shots, and no failure of the tasks beside it."""
    labels = torch.tensor([[0, 1, 2], [0, 1, 2]])
    support = torch.stack([torch.zeros(3, 4), torch.eye(3, 4)])
    logits = fit_logistic(support, labels, 3).logits(support)
    assert not logits[0].any()
    assert torch.equal(logits[1], fit_logistic(support[1:], labels[1:], 3).logits(support[1:])[0])
