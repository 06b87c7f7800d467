"""Losses against loops over samples in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from core.objectives.angular import ArcFace, CosFace
from core.objectives.base import CrossEntropy
from core.objectives.negmargin import NegMarginLoss

SCALE = 10.0


def made(*leading, classes=6):
    generator = torch.Generator().manual_seed(len(leading))
    cosines = torch.rand(*leading, classes, generator=generator, dtype=torch.float64) * 2 - 1
    return cosines, torch.randint(classes, leading, generator=generator)


def equation_2(cosines, y, scale, margin):
    """Mean over samples of -log(e^{s (a_y - m)} / (e^{s (a_y - m)} + sum over j != y of e^{s a_j}))."""
    losses = []
    for a, target in zip(cosines.tolist(), y.tolist(), strict=True):
        numerator = math.exp(scale * (a[target] - margin))
        others = math.fsum(math.exp(scale * a_j) for j, a_j in enumerate(a) if j != target)
        losses.append(-math.log(numerator / (numerator + others)))
    return math.fsum(losses) / len(losses)


@pytest.mark.parametrize("margin", [-0.3, -0.02, 0.0, 0.2])
@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_equals_the_papers_equation(margin, scale):
    cosines, y = made(20)
    loss = NegMarginLoss(margin=margin)(scale * cosines, y, scale).value
    assert loss.item() == pytest.approx(equation_2(cosines, y, scale, margin), abs=1e-10)


def test_no_margin_is_cross_entropy():
    cosines, y = made(20)
    assert torch.equal(NegMarginLoss(margin=0.0)(SCALE * cosines, y, SCALE).value, F.cross_entropy(SCALE * cosines, y))


def test_negative_margin_relaxes_and_positive_margin_tightens():
    cosines, y = made(20)
    losses = [NegMarginLoss(margin=m)(SCALE * cosines, y, SCALE).value.item() for m in (-0.3, 0.0, 0.2)]
    assert losses == sorted(losses)
    assert len(set(losses)) == 3


@pytest.mark.parametrize("objective", [CrossEntropy(), NegMarginLoss(margin=-0.3)], ids=["ce", "negmargin"])
@given(st.floats(-100, 100))
def test_a_constant_for_each_sample_changes_nothing(objective, shift):
    cosines, y = made(5)
    shifts = shift * torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    loss = objective(SCALE * cosines + shifts, y, SCALE).value
    assert loss.item() == pytest.approx(objective(SCALE * cosines, y, SCALE).value.item(), abs=1e-10)


@pytest.mark.parametrize("objective", [CrossEntropy(), NegMarginLoss(margin=-0.3)], ids=["ce", "negmargin"])
def test_leading_axes_are_averaged_over(objective):
    cosines, y = made(2, 3, 4)
    flat = objective(SCALE * cosines.view(24, -1), y.view(24), SCALE).value
    assert objective(SCALE * cosines, y, SCALE).value.item() == pytest.approx(flat.item(), abs=1e-12)
    each = [objective(SCALE * cosines[t, i], y[t, i], SCALE).value.item() for t in range(2) for i in range(3)]
    assert flat.item() == pytest.approx(sum(each) / 6, abs=1e-12)


def test_cross_entropy_is_the_mean_negative_log_probability():
    cosines, y = made(20)
    assert CrossEntropy()(cosines, y).value.item() == pytest.approx(equation_2(cosines, y, 1.0, 0.0), abs=1e-12)


def test_gradients():
    cosines, y = made(4)
    loss = NegMarginLoss(margin=-0.3)
    assert torch.autograd.gradcheck(lambda a: loss(SCALE * a, y, SCALE).value, cosines.requires_grad_())


@pytest.mark.parametrize("objective", [NegMarginLoss, CosFace, ArcFace])
def test_a_ramp_reaches_the_margin_linearly(objective):
    cosines, y = made(20)
    cosines = 0.9 * cosines
    ramped = objective(margin=0.3, ramp=0.5)
    for progress, margin in ((0.0, 0.0), (0.125, 0.075), (0.25, 0.15), (0.5, 0.3), (0.75, 0.3), (1.0, 0.3)):
        assert ramped.margin_at(progress) == pytest.approx(margin)
        expected = objective(margin=margin)(SCALE * cosines, y, SCALE).value
        loss = ramped(SCALE * cosines, y, SCALE, progress=progress)
        assert loss.value.item() == pytest.approx(expected.item(), abs=1e-12)
        assert ramped.scalars(SCALE, progress)["margin"] == pytest.approx(margin)
    assert objective(margin=0.3, ramp=0.5).scalars(SCALE)["margin"] == 0.3


def test_the_bonus_of_the_target_is_reported():
    cosines, y = made(20)
    loss = NegMarginLoss(margin=-0.3)
    assert loss.scalars(SCALE) == {"margin": -0.3, "delta": pytest.approx(3.0)}
    assert loss.scalars(torch.tensor(5.0))["delta"] == pytest.approx(1.5)
    bonus = loss.scalars(SCALE)["delta"] * F.one_hot(y, 6)
    assert loss(SCALE * cosines, y, SCALE).value.item() == pytest.approx(
        F.cross_entropy(SCALE * cosines + bonus, y).item(), abs=1e-12
    )
    assert CrossEntropy().scalars(SCALE) == {}


@pytest.mark.parametrize("margin", [-8.81, 9.0, 1e30, float("inf"), float("nan")])
def test_a_margin_that_overflows_is_refused(margin):
    loss = NegMarginLoss(margin=margin)
    with pytest.raises(UserError) as caught:
        loss.refuse(SCALE)
    assert str(caught.value) == (
        f"OBJECTIVE.ARGS.margin is {margin}, which at scale 10 moves the target's logit by {abs(10 * margin):g} and "
        "overflows its exponential; choose a margin between -8.8 and 8.8."
    )
    NegMarginLoss(margin=-8.8).refuse(SCALE)
    assert torch.tensor(math.exp(88)).isfinite()
    assert not torch.tensor(math.exp(89)).isfinite()


@pytest.mark.parametrize("ramp", [-0.1, 1.5, float("nan")])
def test_a_ramp_is_a_share(ramp):
    with pytest.raises(UserError, match=rf"^OBJECTIVE\.ARGS\.ramp is {ramp}; it must be at least 0 and at most 1\.$"):
        NegMarginLoss(ramp=ramp)


def test_margin_has_no_parameters():
    assert not list(NegMarginLoss().parameters())
    assert NegMarginLoss().margin == -0.02
