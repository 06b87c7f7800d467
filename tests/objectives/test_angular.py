"""CosFace and ArcFace against their formulas, and where their gradients could break."""

import math

import pytest
import torch
import torch.nn.functional as F

from core.errors import UserError
from core.objectives.angular import ArcFace, CosFace
from core.objectives.negmargin import NegMarginLoss


def naive(cosines, labels, scale, change):
    """Mean cross-entropy with the target's cosine changed, in float64 loops."""
    losses = []
    for row, y in zip(cosines.tolist(), labels.tolist(), strict=True):
        logits = [scale * (change(a) if j == y else a) for j, a in enumerate(row)]
        losses.append(math.log(math.fsum(math.exp(value - logits[y]) for value in logits)))
    return math.fsum(losses) / len(losses)


def drawn():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(6, 4, generator=generator, dtype=torch.float64) * 1.8 - 0.9
    cosines[0, 2] = -0.95  # beyond pi - margin
    return cosines, torch.tensor([2, 0, 1, 3, 3, 2])


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_arcface_adds_the_margin_to_the_angle(margin):
    cosines, labels = drawn()

    def change(a):
        inside = a > -math.cos(margin)
        return math.cos(math.acos(a) + margin) if inside else a - margin * math.sin(margin)

    loss = ArcFace(margin=margin)(12 * cosines, labels, 12.0).value
    assert loss.item() == pytest.approx(naive(cosines, labels, 12, change), abs=1e-9)


@pytest.mark.parametrize("margin", [0.0, 0.35])
def test_cosface_takes_the_margin_from_the_cosine(margin):
    cosines, labels = drawn()
    loss = CosFace(margin=margin)(12 * cosines, labels, 12.0).value
    assert loss.item() == pytest.approx(naive(cosines, labels, 12, lambda a: a - margin), abs=1e-9)
    assert loss == NegMarginLoss(margin=margin)(12 * cosines, labels, 12.0).value


def test_arcface_has_finite_gradients_at_both_ends():
    cosines = torch.tensor([[1.0, 0.2], [-1.0, 0.3]], requires_grad=True)
    ArcFace()(10 * cosines, torch.tensor([0, 0]), 10.0).value.backward()
    assert cosines.grad.isfinite().all()


def test_no_margin_is_cross_entropy():
    cosines, labels = drawn()
    expected = F.cross_entropy(5 * cosines, labels)
    torch.testing.assert_close(ArcFace(margin=0.0)(5 * cosines, labels, 5.0).value, expected)
    torch.testing.assert_close(CosFace(margin=0.0)(5 * cosines, labels, 5.0).value, expected)


@pytest.mark.parametrize("margin", [-0.1, 3.2, math.nan])
def test_arcface_takes_no_margin_that_turns_its_angle_back(margin):
    """Beyond these the target's cosine would jump, or fall where the answer gets better."""
    with pytest.raises(UserError, match=r"OBJECTIVE\.ARGS\.margin is .*; arcface adds it to an angle: give 0 to pi"):
        ArcFace(margin=margin)
