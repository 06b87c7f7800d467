"""Images inside a page, as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

QUALITY = 82


def data_uri(image: np.ndarray, side: int = 0) -> str:
    """An image [H, W, 3], uint8 or 0..1, as a WebP of at most `side` pixels (0 = as large as it is)."""
    pixels = image if image.dtype == np.uint8 else (image * 255).round().clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels)
    if side and max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY, method=0)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
