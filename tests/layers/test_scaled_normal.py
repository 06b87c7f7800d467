"""Initial weights whose variance follows the outputs of a layer."""

import pytest
import torch
from torch import nn

from core.layers.scaled_normal import start_scaled_normal


@pytest.mark.parametrize(("layer", "outputs"), [(nn.Conv2d(3, 400, 3), 3600), (nn.Linear(300, 50), 50)])
def test_variance_and_biases(layer, outputs):
    torch.manual_seed(0)
    start_scaled_normal(nn.Sequential(layer))
    assert layer.weight.var().item() == pytest.approx(0.2 / outputs, rel=0.05)
    assert abs(layer.weight.mean().item()) < 0.02 * layer.weight.std().item() + 1e-4
    assert (layer.bias == 0).all()
