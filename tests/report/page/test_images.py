import base64
import io

import numpy as np
from PIL import Image

from core.report.page.images import data_uri


def opened(uri):
    kind, data = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_bytes_and_shares_give_the_same_image():
    image = np.full((20, 30, 3), (200, 40, 90), np.uint8)
    picture = opened(data_uri(image))
    assert picture.shape == (20, 30, 3)
    assert abs(picture.astype(int) - image).max() < 6
    assert data_uri(image / np.float32(255)) == data_uri(image)


def test_a_large_image_is_made_small_and_a_small_one_stays():
    image = np.zeros((120, 60, 3), np.uint8)
    assert opened(data_uri(image, 40)).shape == (40, 20, 3)
    assert opened(data_uri(image, 500)).shape == (120, 60, 3)
