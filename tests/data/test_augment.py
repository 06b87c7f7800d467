"""Augmentation against loops over single images, with the same random numbers."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from core.data.augment import Centre, Crop, Flip, Jitter, ResizedCrop, parse_transforms
from core.errors import UserError
from core.ops import random

ALL = [Crop(2), Flip(), ResizedCrop(0.2), Jitter(0.4)]
IDS = ["crop", "flip", "resized", "jitter"]


def random_pixels(n=12, height=8, width=8):
    pixels = torch.rand(n, height, width, 3, generator=torch.Generator().manual_seed(n))
    return pixels, random.hashes(torch.tensor(n), "test", n)


def one_by_one(pixels, drawn, function):
    images = zip(pixels.double().numpy(), drawn.double().numpy(), strict=True)
    return np.stack([function(image, u) for image, u in images])


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_crop_is_pad_and_slice(padding):
    def crop(image, u):
        top, left = (int(x * (2 * padding + 1)) for x in u)
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        return padded[top : top + image.shape[0], left : left + image.shape[1]]

    pixels, seed = random_pixels(height=7)
    expected = one_by_one(pixels, random.uniform(seed, "crop", (2,)), crop)
    assert np.array_equal(Crop(padding)(pixels, seed).numpy(), expected)


@pytest.mark.parametrize(("size", "share", "larger"), [(84, 0.913, 92), (84, 0.875, 96), (32, 0.9, 36)])
def test_the_centre_is_that_of_torchvision(size, share, larger):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    theirs = Compose([Resize([larger, larger]), CenterCrop(size)])
    expected = np.stack([np.asarray(theirs(Image.fromarray(image))) for image in images])
    seen = Centre(share)(torch.from_numpy(images).float() / 255)
    assert seen.shape == images.shape
    assert np.abs(seen.numpy() * 255 - expected).max() < 1.01  # Pillow rounds to whole levels, once for each axis


def test_crop_reaches_every_place_equally_often():
    marked = torch.zeros(3000, 3, 3, 3)
    marked[:, 1, 1] = 1
    corner = Crop(1)(marked, random.hashes(torch.tensor(0), "places", 3000))[..., 0].flatten(1).argmax(1)
    counts = corner.bincount(minlength=9)
    assert (counts - 3000 / 9).abs().max() < 5 * math.sqrt(3000 / 9)


def test_flip_mirrors_half_of_the_images():
    pixels, seed = random_pixels(400, 3, 5)
    mirrored = random.uniform(seed, "flip") < 0.5
    expected = one_by_one(pixels, mirrored, lambda image, flip: image[:, ::-1] if flip else image)
    assert np.array_equal(Flip()(pixels, seed).numpy(), expected)
    assert 150 < mirrored.sum() < 250


def bilinear(image, y, x):
    """Value at (y, x), counted in pixels from the centre of the first; the border is repeated."""
    height, width = image.shape[:2]
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = image[top, left] * (1 - x + left) + image[top, right] * (x - left)
    lower = image[bottom, left] * (1 - x + left) + image[bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def box(u, smallest, height, width):
    """Top, left, height and width of a crop in pixels."""
    area = smallest + (1 - smallest) * u[0]
    ratio = math.exp((2 * u[1] - 1) * math.log(4 / 3))
    box_width, box_height = min(math.sqrt(area * ratio), 1), min(math.sqrt(area / ratio), 1)
    return u[3] * (1 - box_height) * height, u[2] * (1 - box_width) * width, box_height * height, box_width * width


@pytest.mark.parametrize("smallest", [0.05, 0.2, 1.0])
def test_resized_is_crop_and_bilinear_enlargement(smallest):
    def resize(image, u):
        height, width = image.shape[:2]
        top, left, box_height, box_width = box(u, smallest, height, width)
        return np.array(
            [
                [
                    bilinear(
                        image,
                        top + (row + 0.5) / height * box_height - 0.5,
                        left + (column + 0.5) / width * box_width - 0.5,
                    )
                    for column in range(width)
                ]
                for row in range(height)
            ]
        )

    pixels, seed = random_pixels(height=6)
    expected = one_by_one(pixels, random.uniform(seed, "resized", (4,)), resize)
    assert np.allclose(ResizedCrop(smallest)(pixels, seed).numpy(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("smallest", [0.08, 0.5, 1.0])
def test_resized_area_and_aspect_ratio(smallest):
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    ramp = torch.stack([rows, columns, rows], 2).expand(500, -1, -1, -1)
    crop = ResizedCrop(smallest)(ramp, random.hashes(torch.tensor(0), "ramp", 500))
    high = (crop[:, 17, 16, 0] - crop[:, 15, 16, 0]) / 2
    wide = (crop[:, 16, 17, 1] - crop[:, 16, 15, 1]) / 2
    slack = 1e-3
    assert ((high <= 1 + slack) & (wide <= 1 + slack)).all()
    assert ((high * wide >= min(smallest, 3 / 4) - slack) & (high * wide <= 1 + slack)).all()
    assert ((high / wide >= 3 / 4 - slack) & (high / wide <= 4 / 3 + slack)).all()
    if smallest < 1:
        assert (high * wide).min() < smallest + 0.1
        assert ((high / wide).min() < 0.8) & ((high / wide).max() > 1.25)


def test_resized_of_the_whole_square_is_the_identity(monkeypatch):
    pixels, seed = random_pixels()
    half = torch.full((len(pixels), 4), 0.5)
    monkeypatch.setattr(random, "uniform", lambda *_: half)
    assert torch.allclose(ResizedCrop(1.0)(pixels, seed), pixels, rtol=0, atol=1e-6)


def test_jitter_formula():
    def grey(image):
        return 0.299 * image[..., :1] + 0.587 * image[..., 1:2] + 0.114 * image[..., 2:]

    def jitter(image, u):
        brightness, contrast, saturation = (1 + 0.4 * (2 * x - 1) for x in u)
        image = np.clip(brightness * image, 0, 1)
        image = np.clip(contrast * image + (1 - contrast) * grey(image).mean(), 0, 1)
        return np.clip(saturation * image + (1 - saturation) * grey(image), 0, 1)

    pixels, seed = random_pixels()
    expected = one_by_one(pixels, random.uniform(seed, "jitter", (3,)), jitter)
    assert np.allclose(Jitter(0.4)(pixels, seed).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("transform", ALL, ids=IDS)
def test_each_image_depends_on_its_own_seed_alone(transform):
    pixels, seed = random_pixels()
    together = transform(pixels, seed)
    order = torch.randperm(len(seed), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(transform(pixels[order], seed[order]), together[order], rtol=0, atol=1e-6)
    alone = [transform(pixels[i : i + 1], seed[i : i + 1])[0] for i in range(len(seed))]
    assert torch.allclose(torch.stack(alone), together, rtol=0, atol=1e-6)


@pytest.mark.parametrize("transform", ALL, ids=IDS)
def test_images_of_a_batch_differ_in_what_they_undergo(transform):
    pixels, seed = random_pixels(1)
    many = transform(pixels.expand(40, -1, -1, -1), random.hashes(seed[0], "many", 40))
    assert len({tuple(image.flatten().tolist()) for image in many}) > (1 if isinstance(transform, Flip) else 10)


@pytest.mark.parametrize("transform", ALL, ids=IDS)
def test_shape_range_and_input_are_kept(transform):
    pixels, seed = random_pixels(5, 6, 9)
    before = pixels.clone()
    changed = transform(pixels, seed)
    assert changed.shape == pixels.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("transform", [Crop(0), Jitter(0.0)], ids=["crop-0", "jitter-0"])
def test_nothing_asked_nothing_done(transform):
    pixels, seed = random_pixels()
    assert torch.allclose(transform(pixels, seed), pixels, rtol=0, atol=1e-6)


def test_parse():
    assert parse_transforms(["crop-4", "flip", "jitter-0.4", "resized-1"], "KEY") == [
        Crop(4),
        Flip(),
        Jitter(0.4),
        ResizedCrop(1.0),
    ]
    assert parse_transforms([], "KEY") == []


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("crop", "crop-NUMBER, e.g. crop-4"),
        ("crop-", "crop-NUMBER, e.g. crop-4"),
        ("crop-4.5", "crop-NUMBER, e.g. crop-4"),
        ("crop--4", "crop-NUMBER, e.g. crop-4"),
        ("flip-2", "flip"),
        ("jitter-x", "jitter-NUMBER (0..1), e.g. jitter-0.4"),
        ("jitter-1.5", "jitter-NUMBER (0..1), e.g. jitter-0.4"),
        ("resized-nan", "resized-NUMBER (0..1), e.g. resized-0.4"),
    ],
)
def test_wrong_number_is_one_sentence(text, form):
    with pytest.raises(UserError) as caught:
        parse_transforms(["flip", text], "STAGE.meta.AUGMENT")
    assert str(caught.value) == f"STAGE.meta.AUGMENT names {text!r}, which is not of the form {form}."


def test_unknown_name_is_one_sentence():
    with pytest.raises(UserError) as caught:
        parse_transforms(["flop"], "STAGE.meta.AUGMENT")
    assert str(caught.value) == (
        "STAGE.meta.AUGMENT names 'flop', which is not one of: crop-NUMBER, flip, resized-NUMBER, jitter-NUMBER "
        "(did you mean flip?)."
    )
