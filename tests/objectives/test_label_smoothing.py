"""Smoothed labels against a loop."""

import math

import pytest
import torch

from core.errors import UserError
from core.objectives.label_smoothing import LabelSmoothing


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_equals_the_loop(smoothing):
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, terms = torch.tensor([[0, 3, 1], [2, 2, 0]]), []
    for t in range(2):
        for q in range(3):
            total = math.log(sum(math.exp(z) for z in logits[t, q].tolist()))
            shares = [1 - smoothing if n == y[t, q] else smoothing / 3 for n in range(4)]
            terms.append(sum(share * (total - z) for share, z in zip(shares, logits[t, q].tolist(), strict=True)))
    loss = LabelSmoothing(smoothing=smoothing)(logits, y)
    assert loss.value.item() == pytest.approx(math.fsum(terms) / len(terms), abs=1e-12)
    assert torch.equal(loss.logits, logits)


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, float("nan")])
def test_too_much_smoothing_is_one_sentence(smoothing):
    with pytest.raises(
        UserError, match=rf"^OBJECTIVE\.ARGS\.smoothing is {smoothing}; it must be at least 0 and below 0\.5\.$"
    ):
        LabelSmoothing(smoothing=smoothing)
