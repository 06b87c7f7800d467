"""Learned tensors by the names of parameters."""

import pytest
import torch

from core.layers.named_tensors import NamedTensors


def made(number):
    return NamedTensors({"backbone.layers.0.weight": torch.full((2, 3), number), "head.bias": torch.full((5,), 1.0)})


def test_every_name_has_a_tensor_that_learns():
    tensors = made(0.25)
    assert "head.bias" in tensors
    assert "head.weight" not in tensors
    assert tensors["backbone.layers.0.weight"].shape == (2, 3)
    assert all(p.requires_grad for p in tensors.parameters())
    assert tensors.mean() == pytest.approx((6 * 0.25 + 5) / 11)


def test_tensors_are_found_again_in_a_checkpoint():
    other = made(0.5)
    other.load_state_dict(made(0.1).state_dict())
    assert torch.equal(other["backbone.layers.0.weight"], made(0.1)["backbone.layers.0.weight"])
