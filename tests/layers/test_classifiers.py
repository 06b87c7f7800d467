"""Classifiers over the base classes against their formulas, and what they learn."""

import pytest
import torch

from core.layers.classifiers import CosineClassifier, DotClassifier


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def names(layer):
    return {name for name, _ in layer.named_parameters()}


@pytest.mark.parametrize("learn_norm", [False, True])
@pytest.mark.parametrize("learn_scale", [False, True])
def test_cosines_of_rows(learn_norm, learn_scale):
    layer, z = CosineClassifier(5, 3, 7.0, learn_norm, learn_scale), drawn(4, 5)
    logits = layer(z)
    for i in range(4):
        for j in range(3):
            w = layer.weight[j]
            cosine = z[i] @ w / z[i].norm() / w.norm()
            expected = 7 * cosine * (w.norm() if learn_norm else 1)  # the norm starts at the row's length
            torch.testing.assert_close(logits[i, j], expected)
    assert names(layer) == {"weight"} | ({"norm"} if learn_norm else set()) | ({"scale"} if learn_scale else set())


@pytest.mark.parametrize("learn_scale", [False, True])
def test_inner_products_of_rows(learn_scale):
    layer, z = DotClassifier(5, 3, 2.0, learn_scale), drawn(4, 5)
    torch.testing.assert_close(layer(z), 2 * z @ layer.weight.T)
    assert names(layer) == {"weight"} | ({"scale"} if learn_scale else set())
