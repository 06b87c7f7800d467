"""Crops beside the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from core.data.augment import Crop, Flip, Jitter
from core.data.views import Augmented, Grid, Sample, parse_views, resample
from core.errors import UserError
from core.ops import random

SEEDS = random.hashes(torch.tensor(7), "images", 6)


def pictures(size: int = 32, n: int = 6) -> torch.Tensor:
    return random.uniform(torch.tensor(3), "pictures", (n, size, size, 3))


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        (84, 3, [(0, 42), (14, 70), (42, 84)]),
        (84, 2, [(0, 63), (21, 84)]),
        (32, 3, [(0, 15), (5, 25), (15, 32)]),
        (32, 2, [(0, 24), (8, 32)]),
    ],
)
def test_cells_of_a_grid_are_those_of_the_papers(size, side, expected):
    low, high = Grid(side, 2.0).intervals(size, torch.tensor([2.0], dtype=torch.float64))
    assert list(zip(low[0].tolist(), high[0].tolist(), strict=True)) == expected


def test_a_box_is_resized_as_pillow_resizes_a_crop():
    eight_bit = (pictures() * 255).round()
    boxes = torch.tensor([[0, 15, 5, 25], [15, 32, 0, 15], [5, 25, 5, 25]]).expand(6, -1, -1)
    crops = resample(eight_bit.double(), boxes)
    for n in range(6):
        whole = Image.fromarray(eight_bit[n].numpy().astype(np.uint8))
        for v, (top, bottom, left, right) in enumerate(boxes[n].tolist()):
            crop = whole.crop((left, top, right, bottom)).resize((32, 32), Image.BILINEAR)
            assert np.abs(np.asarray(crop) - crops[n, v].numpy()).max() <= 1


def test_the_whole_image_as_a_box_is_the_image():
    torch.testing.assert_close(resample(pictures(), torch.tensor([0, 32, 0, 32]).expand(6, 1, -1))[:, 0], pictures())


def test_a_grid_goes_row_by_row():
    ramp = torch.arange(32.0)[:, None, None].expand(1, 32, 32, 3)  # brightness grows downwards
    means = Grid(3, 2.0)(ramp, SEEDS[:1], train=False).mean((2, 3, 4))[0].view(3, 3)
    assert torch.allclose(means[:, 0], means[:, 2], atol=1e-3)
    assert (means[1:] > means[:-1] + 5).all()


def test_a_grid_at_test_does_not_ask_the_seed_and_in_training_it_does():
    grid = Grid(2, 2.0)
    assert torch.equal(grid(pictures(), SEEDS, False), grid(pictures(), SEEDS + 1, False))
    assert not torch.equal(grid(pictures(), SEEDS, True), grid(pictures(), SEEDS + 1, True))


def test_training_cells_grow_by_one_to_three():
    grid, seeds = Grid(2, 2.0), random.hashes(torch.tensor(0), "many", 400)
    ramp = torch.arange(64.0)[None, :, None, None].expand(400, 64, 64, 3)
    spread = grid(ramp, seeds, True)[:, 0].amax((1, 2, 3)) + 1  # lower edge of the upper left crop
    assert spread.min() >= 32
    assert spread.max() <= 64
    assert spread.unique().numel() > 20


@pytest.mark.parametrize("view", [Grid(3, 2.0), Sample(4), Augmented(3)])
def test_crops_are_a_function_of_the_image_and_its_seed(view):
    together = view(pictures(), SEEDS, True)
    assert together.shape == (6, view.count, 32, 32, 3)
    alone = torch.cat([view(pictures()[i : i + 1], SEEDS[i : i + 1], True) for i in range(6)])
    torch.testing.assert_close(together, alone)


def test_samples_differ_at_test_too_and_stay_inside_the_image():
    ramp = torch.arange(32.0)[:, None, None].expand(6, 32, 32, 3)
    crops = Sample(9)(ramp, SEEDS, False)
    assert crops.flatten(2).std(2).unique().numel() > 40
    assert crops.min() >= 0
    assert crops.max() <= 31.0001


def test_half_of_the_crops_are_mirrored():
    ramp = torch.arange(32.0)[:, None].expand(400, 32, 32, 3)  # brightness grows to the right
    crops = Sample(2)(ramp, random.hashes(torch.tensor(0), "many", 400), False)
    rising = (crops[..., -1, :] > crops[..., 0, :]).float().mean()
    assert 0.43 < rising < 0.57


def test_augmented_copies_are_those_of_the_transforms():
    seeds = random.hashes(SEEDS[0], "augmented", 2)
    copy = pictures()[:1].repeat(2, 1, 1, 1)
    for transform in (Crop(4), Jitter(0.4), Flip()):
        copy = transform(copy, seeds)
    torch.testing.assert_close(Augmented(2)(pictures()[:1], SEEDS[:1], False)[0], copy)


def test_views_stand_in_the_order_of_the_list():
    views = parse_views(["whole", "grid-3", "grid-2"], 2.0)
    assert views.count == 13
    crops = views(pictures(), SEEDS, False)
    assert torch.equal(crops[:, 9:], Grid(2, 2.0)(pictures(), SEEDS, False))
    assert parse_views(["whole"], 2.0) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [("gird-3", "did you mean grid"), ("grid", "grid-NUMBER"), ("grid-1", "2 or more"), ("sample-x", "sample-NUMBER")],
)
def test_an_unknown_view_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        parse_views(["whole", name], 2.0)
