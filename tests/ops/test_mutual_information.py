"""TIM's solvers against its equations, written for one task in float64, and Adam by PyTorch on autograd's gradient."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.ops.mutual_information import Descent, Weights, alternate, logits_of
from tests.methods.small import drawn

TASKS, WAY, SHOT, QUERIES, WIDTH = 3, 4, 2, 9, 7
LABELS = torch.arange(WAY).repeat_interleave(SHOT).expand(TASKS, -1)
SUPPORT, QUERY = (F.normalize(drawn(TASKS, n, WIDTH, seed=n), dim=-1) for n in (WAY * SHOT, QUERIES))
MEANS = SUPPORT.unflatten(1, (WAY, SHOT)).mean(2)
TIM = Weights(0.1, 1.0, 0.1)


def entropy(p, alpha):
    """Shannon's or Tsallis's, over the last axis."""
    return -(p * p.log()).sum(-1) if alpha == 1 else (1 - (p**alpha).sum(-1)) / (alpha - 1)


def objective(rows, t, weights, alpha, temperature=15.0):
    """Card 16, TIM: .1 CE - H(Y) + .1 H(Y|X) of task t, for class vectors [N, d]."""

    def probabilities(z):
        distances = torch.stack([(z - w).square().sum(-1) for w in rows], dim=-1)
        return (-temperature / 2 * distances).softmax(-1)

    right = probabilities(SUPPORT[t]).gather(1, LABELS[t][:, None])
    p = probabilities(QUERY[t])
    marginal, conditional = entropy(p.mean(0), alpha), entropy(p, alpha).mean()
    return -weights.cross_entropy * right.log().mean() - weights.marginal * marginal + weights.conditional * conditional


@pytest.mark.parametrize("alpha", [1.0, 2.0, 7.0, 0.5])
@pytest.mark.parametrize("weights", [TIM, Weights(1.0, 10.0, 1.0), Weights(0.0, 0.0, 1.0)])
def test_card_16_the_slope_is_that_of_the_objective(alpha, weights):
    slope = Descent(weights, alpha).slope(torch.cat([SUPPORT, QUERY], 1), F.one_hot(LABELS, WAY).double().mT, MEANS)
    for t in range(TASKS):
        rows = MEANS[t].clone().requires_grad_()
        (expected,) = torch.autograd.grad(objective(rows, t, weights, alpha), rows)
        torch.testing.assert_close(slope[t], expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize(("weights", "alpha"), [(TIM, 1.0), (Weights(1.0, 1.0, 1.0), 2.0)])
def test_card_16_tim_gd_and_alpha_tim_follow_adam_of_each_task_alone(weights, alpha):
    vectors = Descent(weights, alpha, rate=1e-2, steps=60).class_vectors(SUPPORT, LABELS, QUERY, MEANS)
    for t in range(TASKS):
        rows = MEANS[t].clone().requires_grad_()
        adam = torch.optim.Adam([rows], lr=1e-2)
        for _ in range(60):
            adam.zero_grad()
            objective(rows, t, weights, alpha).backward()
            adam.step()
        torch.testing.assert_close(vectors[t], rows.detach(), atol=1e-9, rtol=0)


def test_card_16_alpha_1_is_tim():
    by_alpha = {
        alpha: Descent(Weights(1.0, 1.0, 1.0), alpha, steps=50).class_vectors(SUPPORT, LABELS, QUERY, MEANS)
        for alpha in (1.0, 1.0 + 1e-7, 2.0)
    }
    torch.testing.assert_close(by_alpha[1.0 + 1e-7], by_alpha[1.0], atol=1e-7, rtol=0)
    assert (by_alpha[2.0] - by_alpha[1.0]).abs().max() > 1e-4


def alternate_naively(t, weights, temperature, steps):
    """Card 16, TIM-ADM: class vectors of task t in R^d, step by step."""
    support, query, target = SUPPORT[t].numpy(), QUERY[t].numpy(), np.eye(WAY)[LABELS[t].numpy()]
    rows = MEANS[t].numpy()

    def probabilities(z):
        logits = -temperature / 2 * ((z[:, None] - rows[None]) ** 2).sum(-1)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    of_supports, of_queries = weights.cross_entropy / (1 + weights.conditional), len(support) / len(query)
    for _ in range(steps):
        p_s, p_q = probabilities(support), probabilities(query)
        sharp = p_q ** (1 + weights.conditional)
        q = sharp / np.sqrt(sharp.sum(0, keepdims=True))
        q = q / q.sum(1, keepdims=True)
        updated = np.empty_like(rows)
        for n in range(WAY):
            total, mass = np.zeros(WIDTH), 0.0
            for z, y, p in zip(support, target[:, n], p_s[:, n], strict=True):
                total += of_supports * (y * z + p * (rows[n] - z))
                mass += of_supports * y
            for z, y, p in zip(query, q[:, n], p_q[:, n], strict=True):
                total += of_queries * (y * z + p * (rows[n] - z))
                mass += of_queries * y
            updated[n] = total / mass
        rows = updated
    return rows


@pytest.mark.parametrize("steps", [1, 20])
def test_card_16_tim_adm_follows_the_closed_form_of_each_task_alone(steps):
    logits = alternate(SUPPORT, LABELS, QUERY, WAY, TIM, 15.0, steps)
    for t in range(TASKS):
        rows = torch.from_numpy(alternate_naively(t, TIM, 15.0, steps))
        torch.testing.assert_close(logits[t], logits_of(QUERY[t : t + 1], rows[None], 15.0)[0], atol=1e-9, rtol=0)


def test_card_16_tim_with_0_iterations_is_the_nearest_mean():
    expected = logits_of(QUERY, MEANS, 15.0)
    torch.testing.assert_close(alternate(SUPPORT, LABELS, QUERY, WAY, TIM, 15.0, 0), expected)
    assert torch.equal(Descent(TIM, steps=0).class_vectors(SUPPORT, LABELS, QUERY, MEANS), MEANS)


def test_both_solvers_lower_the_objective():
    descended = Descent(TIM, steps=400, rate=1e-3).class_vectors(SUPPORT, LABELS, QUERY, MEANS)
    for t in range(TASKS):
        alternated = torch.from_numpy(alternate_naively(t, TIM, 15.0, 100))
        before = objective(MEANS[t], t, TIM, 1)
        assert objective(descended[t], t, TIM, 1) < before
        assert objective(alternated, t, TIM, 1) < before


def test_a_class_without_queries_is_no_trouble():
    """Its probabilities are below the smallest float32, and their logarithm would be infinite."""
    support, labels = torch.eye(4)[None], torch.arange(4)[None]
    query = torch.eye(4)[None, [0, 0, 1]]
    far = Descent(Weights(0.1, 1.0, 0.1), temperature=300.0, steps=3)
    assert far.class_vectors(support, labels, query, support).isfinite().all()
