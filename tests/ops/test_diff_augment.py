"""Augmentation of normalised images, against loops over images."""

import pytest
import torch

from core.ops import random
from core.ops.diff_augment import diff_augment

IMAGES = torch.randn(3, 3, 16, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_loops(images, seed, chance):
    """The same from the numbers that are drawn, image by image and pixel by pixel."""
    coins = random.uniform(seed, "t coins", (2,)).tolist()
    numbers = random.uniform(seed, "t images", (len(images), 5)).double().tolist()
    if coins[0] >= chance:
        return images
    changed = []
    for image, (brightness, saturation, contrast, down, right) in zip(images, numbers, strict=True):
        image = image.flip(2) if coins[1] < 0.5 else image
        image = image + brightness - 0.5
        grey = image.mean(0)
        image = grey + (image - grey) * 2 * saturation
        image = image.mean() + (image - image.mean()) * (contrast + 0.5)
        moved = torch.zeros_like(image)
        rows, columns = int(down * 5) - 2, int(right * 3) - 1  # an eighth of 16 and of 8 pixels
        for i in range(16):
            for j in range(8):
                if 0 <= i + rows < 16 and 0 <= j + columns < 8:
                    moved[:, i, j] = image[:, i + rows, j + columns]
        changed.append(moved)
    return torch.stack(changed)


def test_equals_loops_over_images():
    drawn = []
    for number in range(40):
        seed = torch.tensor(number)
        images = diff_augment(IMAGES, seed, "t", 0.7)
        torch.testing.assert_close(images, by_loops(IMAGES, seed, 0.7))
        drawn.append(torch.equal(images, IMAGES))
    assert 0 < sum(drawn) < 40


@pytest.mark.parametrize(("chance", "changed"), [(0.0, False), (1.0, True)])
def test_a_share_of_all_or_nothing(chance, changed):
    assert all(torch.equal(diff_augment(IMAGES, torch.tensor(n), "t", chance), IMAGES) != changed for n in range(20))


def test_a_gradient_passes_through():
    small = IMAGES[:1, :, :4, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda images: diff_augment(images, torch.tensor(3), "t", 1.0), (small,))
