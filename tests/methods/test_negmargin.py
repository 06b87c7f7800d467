"""NegMargin against its equations, written as loops in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.backbones.conv4 import Conv4
from core.episode import Batch, DataInfo
from core.errors import UserError
from core.methods.negmargin import NegMargin
from core.objectives.negmargin import NegMarginLoss
from core.ops import random
from tests.helpers import make_task
from tests.methods.small import conv4, drawn, vectors

INFO = DataInfo(n_base=6, image_size=16, way=3)


def test_the_softmax_form_of_negmargin_is_an_inner_product_without_bias():
    method = NegMargin(conv4(8), INFO, metric="softmax", scale=5.0)
    z = vectors(4, 8)
    torch.testing.assert_close(
        method.batch_logits(Batch({"vector": z}, torch.zeros(4))), 5 * z @ method.classifier.weight.T
    )
    assert not method.cosine_logits
    with pytest.raises(UserError, match=r"METHOD\.ARGS\.metric is 'l2', which is not one of: cosine, softmax"):
        NegMargin(conv4(8), INFO, metric="l2")


@pytest.mark.parametrize("metric", ["cosine", "softmax"])
def test_the_scale_can_be_learned(metric):
    fixed = NegMargin(conv4(8), INFO, metric=metric, scale=7.0)
    method = NegMargin(conv4(8), INFO, metric=metric, scale=7.0, learn_scale=True)
    fixed.objective = method.objective = NegMarginLoss(margin=-0.3)
    batch = Batch({"vector": vectors(6, 8)}, torch.arange(6))
    torch.testing.assert_close(method.loss(batch).value, fixed.loss(batch).value)
    assert not any(p.shape == () for p in fixed.parameters())
    method.loss(batch).value.backward()
    similarity = method.batch_logits(batch).detach() / 7
    moved = similarity + 0.3 * torch.eye(6)
    expected = ((7 * moved).softmax(1) * moved).sum(1).mean() - moved.diagonal().mean()  # of the loss by the scale
    torch.testing.assert_close(method.classifier.scale.grad, expected)


def test_negmargin_base_logits_and_loss():
    method = NegMargin(conv4(4), INFO, scale=20.0).double()
    method.objective = NegMarginLoss(margin=-0.3)
    z, labels = drawn(5, 4) * 3, torch.tensor([0, 5, 2, 2, 1])
    rows = method.classifier.weight.detach().tolist()
    expected, losses = [], []
    for vector, y in zip(z.tolist(), labels.tolist(), strict=True):
        dots = [math.fsum(a * b for a, b in zip(vector, row, strict=True)) for row in rows]
        cosines = [dot / math.hypot(*vector) / math.hypot(*row) for dot, row in zip(dots, rows, strict=True)]
        expected.append([20 * a for a in cosines])
        numerator = math.exp(20 * (cosines[y] + 0.3))
        losses.append(
            -math.log(numerator / (numerator + math.fsum(math.exp(20 * a) for j, a in enumerate(cosines) if j != y)))
        )
    batch = Batch({"vector": z}, labels)
    assert np.allclose(method.batch_logits(batch).detach().numpy(), expected, rtol=0, atol=1e-11)
    assert method.loss(batch).value.item() == pytest.approx(math.fsum(losses) / 5, abs=1e-11)


def test_negmargin_rows_start_uniformly_within_the_inverse_root_of_the_width():
    weight = NegMargin(Conv4(32, "native"), DataInfo(n_base=64, image_size=32)).classifier.weight.detach()
    assert weight.shape == (64, 256)
    assert 0.99 / 16 < weight.abs().max() <= 1 / 16
    assert weight.std().item() == pytest.approx(1 / 16 / 3**0.5, rel=0.02)


@pytest.mark.parametrize("shot", [1, 5])
def test_negmargin_fine_tunes_a_head_for_each_episode(shot):
    method = NegMargin(conv4(4), INFO, head_passes=8, scale=20.0)
    method.objective = NegMarginLoss(margin=-0.3)
    support, query = drawn(2, 3 * shot, 6), drawn(2, 9, 6, seed=1)
    task = make_task({"vector": support.float()}, {"vector": query.float()}, 3, shot, seed=40)
    output = method(task).double()
    for t in range(2):
        start = (random.uniform(task.seed[t], "head", (3, 6)).double() * 2 - 1) / math.sqrt(6)
        head = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([head], lr=0.01, momentum=0.9, dampening=0.9, weight_decay=1e-3)
        for seed in random.hashes(task.seed[t], "head-passes", 8):
            for ids in random.permutation(seed, "order", 3 * shot).split(4):
                logits = 5 * F.normalize(support[t, ids], dim=1) @ F.normalize(head, dim=1).T
                (gradient,) = torch.autograd.grad(F.cross_entropy(logits, task.support_y[t, ids]), head)
                head.grad = gradient
                optimizer.step()
        expected = 5 * F.normalize(query[t], dim=1) @ F.normalize(head, dim=1).T
        assert torch.allclose(output[t], expected, rtol=0, atol=1e-5)
