"""The structured layer at its edges: no steps, nodes without length, diverged features."""

from dataclasses import replace

import pytest
import torch

from core.errors import UserError
from tests.ops.emd.layers import LAYER, SGD, by_torch, layer_input


def test_what_is_given_stays_as_it_was():
    inputs, before = layer_input(), layer_input()
    LAYER.fine_tuned(*inputs)
    assert all(torch.equal(one, two) for one, two in zip(inputs, before, strict=True))


@pytest.mark.parametrize("layer", [LAYER, by_torch(LAYER)])
def test_nodes_without_length_are_no_trouble(layer):
    classes, support, labels, seed = layer_input()
    support[:, :2] = 0
    classes[:, 0] = 0
    assert layer.fine_tuned(classes, support, labels, seed).isfinite().all()


def test_no_steps_leave_the_classes():
    layer = replace(LAYER, sgd=replace(SGD, passes=0))
    assert torch.equal(layer.fine_tuned(*layer_input()), layer_input()[0])


@pytest.mark.parametrize(
    ("layer", "words"), [(LAYER, "sfc_lr is 20.0, and the fine-tuning"), (by_torch(LAYER), "costs that are not finite")]
)
def test_diverged_features_are_refused(layer, words):
    classes, support, labels, seed = layer_input()
    support[1, 3, 2, 1] = torch.nan
    with pytest.raises(UserError, match=words):
        layer.fine_tuned(classes, support, labels, seed)
