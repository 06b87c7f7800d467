"""Decode an image file to a square RGB array, or say why it cannot be."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from ..files import read_regular

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]
FOREIGN = {"AVIF": (b"avif", b"avis"), "HEIC": (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")}
JPEG_2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")
BITS_PER_SAMPLE = 258  # a tag of TIFF: one number for each channel
FILTER = f"bicubic, antialiased (Pillow {PIL.__version__})"
FINEST_DRAFT = 2  # a JPEG is read at a reduced scale while its shorter side stays this many times the wanted size


class BadImage(Exception):
    """The reason why a file cannot be used, worded as the end of a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Decoding:
    """How files become squares of `size` pixels a side.

    `as_published` does what the field's loaders did to its benchmarks: CMYK by Pillow's formula, alpha dropped, camera
    rotation ignored. Otherwise alpha is laid on white, rotation is applied, and CMYK is refused. `side` refuses files
    of another size than side x side; 0 accepts any.
    """

    size: int
    as_published: bool = False
    side: int = 0

    def describe(self) -> dict[str, Any]:
        """The entry `preparation` of a manifest."""
        return {
            "size": self.size,
            "crop": "centre square of the shorter side",
            "filter": FILTER,
            "jpeg": f"read at 1/2, 1/4 or 1/8 while the shorter side is at least {FINEST_DRAFT} * size",
            "colour": "RGB; CMYK converted, alpha dropped, camera rotation ignored"
            if self.as_published
            else "RGB; alpha laid on white, camera rotation applied",
        }


@dataclass
class Decoded:
    """What files gave."""

    pixels: np.ndarray  # [n, size, size, 3] uint8; a bad file gives black
    bad: dict[int, str]  # by place, the reason why a file is bad
    enlarged: int  # images whose shorter side was smaller than `size`


def decode(file: Path | bytes, decoding: Decoding) -> np.ndarray:
    """Pixels [size, size, 3] uint8 of an image file or of the bytes of one.

    Raises:
        BadImage: as `_decode`.
    """
    return _decode(file, decoding)[0]


def _decode(file: Path | bytes, decoding: Decoding) -> tuple[np.ndarray, bool]:
    """Pixels [size, size, 3], and whether the image was smaller than that.

    Raises:
        BadImage: where it is no image, or cannot be converted to 8-bit RGB without guessing.
    """
    try:
        content = read_regular(file) if isinstance(file, Path) else file
    except OSError as error:
        raise BadImage(f"cannot be read ({error.strerror})") from error
    if not content:
        raise BadImage("is empty (0 bytes)")
    if content[:8] == b"\x89PNG\r\n\x1a\n" and content[24:25] == b"\x10":
        raise BadImage("has 16 bits a channel; save it with 8")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on large files and odd metadata
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                enlarged = min(image.size) < decoding.size
                return _square(image, decoding), enlarged
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage("has more pixels than can be read safely; save it smaller") from error
    except Exception as error:  # whatever a decoder stumbles over, the file is at fault
        kind = foreign_format(content)
        raise BadImage(
            f"is {kind}, which is not read; save it as JPEG"
            if kind
            else "does not decode as an image, perhaps cut short"
        ) from error


def foreign_format(content: bytes) -> str:
    """The name of a format of photographs that is not read, from the first bytes of a file; "" for any other."""
    if content.startswith(JPEG_2000):
        return "JPEG 2000"
    if content[4:8] != b"ftyp":
        return ""
    brands = content[8 : min(64, int.from_bytes(content[:4]))]
    return next((name for name, marks in FOREIGN.items() if any(mark in brands for mark in marks)), "")


def _refuse_unfit(image: Image.Image, decoding: Decoding) -> None:
    """Refuse what cannot be converted to 8-bit RGB without guessing."""
    if decoding.side and image.size != (decoding.side, decoding.side):
        width, height = image.size
        raise BadImage(f"is {width}x{height} pixels instead of {decoding.side}x{decoding.side}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format == "TIFF":
        raise BadImage(f"has {frames} pages; save one page")
    if frames > 1 and image.format != "MPO":  # an MPO is a photo with a second view behind it
        raise BadImage(f"is animated ({frames} frames); save one frame")
    if image.mode.startswith(("I", "F")):
        raise BadImage(f"has more than 8 bits a channel (mode {image.mode}); save it with 8")
    bits = image.tag_v2.get(BITS_PER_SAMPLE, (8,)) if isinstance(image, TiffImageFile) else (8,)
    if max(bits) > 8:  # Pillow keeps the upper 8 without a word
        raise BadImage(f"has {max(bits)} bits a channel; save it with 8")
    if image.mode == "CMYK" and not decoding.as_published:
        raise BadImage("is in CMYK, whose colours depend on a printing profile; save it in RGB")


def _square(image: Image.Image, decoding: Decoding) -> np.ndarray:
    """Refuse, reduce, convert, crop and resize, in this order."""
    _refuse_unfit(image, decoding)
    image.draft(None, (FINEST_DRAFT * decoding.size,) * 2)
    if not decoding.as_published:
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    if image.size != (decoding.size, decoding.size):
        box = (left, top, left + side, top + side)
        image = image.resize((decoding.size, decoding.size), Image.Resampling.BICUBIC, box)
    return np.array(image)


def resize_all(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize square images [n, H, H, 3] to [n, size, size, 3]."""
    resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in pixels]
    return np.stack([np.asarray(image) for image in resized])


def decode_all(files: list[Path | bytes], decoding: Decoding) -> Decoded:
    """The pixels of n files."""
    decoded = Decoded(np.zeros((len(files), decoding.size, decoding.size, 3), np.uint8), {}, 0)
    for place, file in enumerate(files):
        try:
            decoded.pixels[place], enlarged = _decode(file, decoding)
            decoded.enlarged += enlarged
        except BadImage as error:
            decoded.bad[place] = str(error)
    return decoded
