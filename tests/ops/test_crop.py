"""Padded crops against slices, image by image."""

import pytest
import torch

from core.ops.crop import padded_crop


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_image_is_cut_at_its_own_corner(dtype):
    images = torch.randint(1, 256, (6, 5, 4, 3)).to(dtype)
    corner = torch.tensor([[0, 0], [4, 2], [0, 2], [4, 0], [2, 1], [3, 2]])
    cut = padded_crop(images, corner, 2, 1)
    assert cut.dtype == dtype
    for image, (row, column), crop in zip(images, corner.tolist(), cut, strict=True):
        padded = torch.zeros(5 + 4, 4 + 2, 3, dtype=dtype)
        padded[2:7, 1:5] = image
        assert torch.equal(crop, padded[row : row + 5, column : column + 4])


def test_gradients_reach_the_pixels_that_are_seen():
    images = torch.randn(2, 3, 3, 1, dtype=torch.float64, requires_grad=True)
    corner = torch.tensor([[0, 2], [1, 1]])
    assert torch.autograd.gradcheck(lambda x: padded_crop(x, corner, 1, 1), images)
