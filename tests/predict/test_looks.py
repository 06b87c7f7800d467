"""The same picture in another file looks the same; another picture does not."""

import io

import numpy as np
from PIL import Image

from core.predict.looks import NEAR, apart, distances, looks
from tests.predict.photos import pattern


def compressed(array, quality, side):
    file = io.BytesIO()
    Image.fromarray(array).resize((side, side)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).resize(array.shape[:2]))


def smooth(kind):
    """A picture without noise: photographs are smooth."""
    small = Image.fromarray(pattern(kind, side=12))
    return np.asarray(small.resize((96, 96), Image.Resampling.BICUBIC))


def test_compression_and_size_change_few_bits_and_another_picture_many():
    pictures = np.stack([smooth(kind) for kind in range(6)])
    copies = np.stack([compressed(picture, 60, 80) for picture in pictures])
    apart = distances(looks(pictures), looks(copies))
    assert (np.diag(apart) <= NEAR).all()
    assert (apart[~np.eye(6, dtype=bool)] > 4 * NEAR).all()


def test_distances_count_bits():
    one = np.array([[0b101, 0]], np.uint8)
    other = np.array([[0b110, 255]], np.uint8)
    assert distances(one, other).tolist() == [[10]]
    assert looks(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 32)


def test_plain_pictures_are_near_nothing_and_others_as_near_as_they_are():
    rise = np.linspace(0, 255, 48).astype(np.uint8)[None, :, None].repeat(48, 0).repeat(3, 2)
    pictures = np.stack([np.full((48, 48, 3), 40, np.uint8), np.full((48, 48, 3), 200, np.uint8), rise, pattern(0)])
    gaps = apart(looks(pictures), looks(pictures))
    assert (gaps[:3] > NEAR).all()
    assert (gaps[:, :3] > NEAR).all()
    assert gaps[3, 3] == 0
