"""Encoders from Python."""

import pytest
import torch

from core.build.encoders import make_encoder
from core.errors import UserError

NAME = "torchvision:shufflenet_v2_x0_5"


def test_random_weights_repeat_and_leave_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, external = make_encoder(NAME, size=32)
    assert torch.equal(torch.rand(1), expected)
    other, _ = make_encoder(NAME, size=32)
    assert external is None
    assert not one.training
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_size_of_the_weights():
    encoder, _ = make_encoder(NAME)
    assert (encoder.size, encoder.preprocessing.size, encoder.map_size) == (224, 224, 7)


@pytest.mark.parametrize("name", ["Conv4", "conv5", "torchvison:resnet18"])
def test_what_is_no_encoder_is_refused(name):
    with pytest.raises(UserError):
        make_encoder(name)
