"""What encoders of all libraries share: resampling, the choice of a vector, sizes, and words for wrong ones."""

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from core.backbones.blocks import Preprocessing
from core.backbones.encoders import Encoder, Seen, patch_map, refuse_partial_patches, resample
from core.errors import UserError
from tests.backbones.networks import images


class Patches(Encoder):
    """A made-up transformer: the mean colour of each patch of 4 pixels, and a class token of ones."""

    library, model = "made-up", "patches"
    preprocessing = Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")

    def __init__(self, image_size, vector, *, size=0, cls=True):
        super().__init__(image_size, vector, size=size)
        self.cls = cls
        if not cls:
            self.refuse_tokens()
        self.network = nn.AvgPool2d(4)
        self.measure()

    def see(self, images):
        maps = self.network(images)
        ones = torch.ones(len(images), 3)
        return Seen(maps, maps.amax((2, 3)), ones if self.cls else None)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [20, 45])
def test_images_are_resampled_as_torchvision_does_it(interpolation, size):
    pixels = images(2, 32)
    reference = v2.Resize(size, v2.InterpolationMode(interpolation), antialias=True)(pixels)
    torch.testing.assert_close(resample(pixels, size, interpolation), reference)


def test_the_size_is_the_argument_else_that_of_the_data_set_else_the_weights_own():
    assert [Patches(*sizes[:1], "native", size=sizes[1]).size for sizes in ((0, 0), (32, 0), (32, 24))] == [16, 32, 24]


@pytest.mark.parametrize("vector", ["native", "mean", "max", "flatten", "cls", "both"])
def test_vectors(vector):
    encoder = Patches(0, vector)
    features = encoder(images(2, 16))
    maps = features["map"]
    assert maps.shape == (2, 3, 4, 4) == (2, encoder.channels, encoder.map_size, encoder.map_size)
    ones = torch.ones(2, 3)
    expected = {
        "native": maps.flatten(2).max(2).values,
        "mean": maps.flatten(2).mean(2),
        "max": maps.flatten(2).max(2).values,
        "flatten": maps.flatten(1),
        "cls": ones,
        "both": torch.cat([ones, maps.mean((2, 3))], 1),
    }[vector]
    torch.testing.assert_close(features["vector"], expected)
    assert features["vector"].shape[1] == encoder.vector_dim


def test_a_class_token_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"BACKBONE.VECTOR is cls, but BACKBONE.NAME made-up:patches has no"):
        Patches(0, "cls", cls=False)


def test_patches_stand_row_by_row():
    tokens = torch.arange(6.0).repeat(3, 1).T[None, :4]  # [1, 4, 3]
    assert patch_map(tokens, "m")[0, 0].tolist() == [[0, 1], [2, 3]]
    with pytest.raises(UserError, match="5 tokens of an image, which are no square map"):
        patch_map(torch.zeros(1, 5, 3), "m")


def test_a_size_between_patches_is_refused_with_the_nearest():
    refuse_partial_patches(28, 14, "m")
    with pytest.raises(UserError, match=r"30 is no multiple of it; set BACKBONE.ARGS.size to 28"):
        refuse_partial_patches(30, 14, "m")
