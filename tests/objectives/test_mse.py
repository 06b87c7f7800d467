"""RelationNet's loss against a loop."""

import math

import torch

from core.objectives.mse import MSE


def test_equals_the_loop():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.tensor([[0, 3, 1], [2, 2, 0]])
    terms = [
        (1 / (1 + math.exp(-logits[t, q, n])) - (y[t, q] == n).double().item()) ** 2
        for t in range(2)
        for q in range(3)
        for n in range(4)
    ]
    assert torch.allclose(MSE()(logits, y).value, torch.tensor(math.fsum(terms) / len(terms), dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x: MSE()(x, y).value, logits.requires_grad_())
