"""Answer which class photographs are of:  python predict.py PHOTO ...

Needs onnxruntime, numpy and Pillow. Prints a line a photograph: file, class, probability. A file that cannot be used is
named, and the exit code then is 1. FiveWay wrote this folder.
"""

import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
HEAD = json.loads((HERE / "head.json").read_text(encoding="utf-8"))
ARRAYS = np.load(HERE / "head.npz", allow_pickle=False)
ENCODER = onnxruntime.InferenceSession(HERE / "encoder.onnx", providers=["CPUExecutionProvider"])
FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]


class BadPhoto(Exception):
    """Why a file cannot be used."""


def content(file: str) -> bytes:
    """The bytes of a file."""
    path = Path(file)
    if path.is_dir():
        raise BadPhoto("is a folder; give the photos in it")
    if not path.is_file():
        raise BadPhoto("is no file" if path.exists() else "does not exist")
    data = path.read_bytes()
    if not data:
        raise BadPhoto("is empty (0 bytes)")
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10":
        raise BadPhoto("has 16 bits a channel; save it with 8")
    return data


def refuse(image: Image.Image) -> None:
    """Refuse what cannot be converted to 8-bit RGB without guessing."""
    frames = getattr(image, "n_frames", 1)
    if image.format != "MPO" and frames > 1:
        raise BadPhoto(f"is animated ({frames} frames); save one frame")
    if image.mode.startswith(("I", "F")):
        raise BadPhoto(f"has more than 8 bits a channel (mode {image.mode}); save it with 8")
    if max(getattr(image, "tag_v2", {}).get(258, (8,))) > 8:  # bits of a TIFF's channels, of which Pillow keeps 8
        raise BadPhoto("has more than 8 bits a channel; save it with 8")
    if image.mode == "CMYK":
        raise BadPhoto("is in CMYK, whose colours depend on a printing profile; save it in RGB")


def pixels(file: str) -> np.ndarray:
    """The centre square of a photograph, [size, size, 3] in 0..1."""
    try:
        with Image.open(io.BytesIO(content(file)), formats=FORMATS) as image:
            refuse(image)
            return square(image)
    except BadPhoto:
        raise
    except Exception as error:  # whatever a decoder stumbles over
        raise BadPhoto(f"cannot be read as an image ({type(error).__name__}), perhaps it was cut short") from error


def square(image: Image.Image) -> np.ndarray:
    """Its centre square, [size, size, 3] in 0..1."""
    image.draft(None, (2 * HEAD["size"],) * 2)
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image, side = image.convert("RGB"), min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((HEAD["size"],) * 2, Image.Resampling.BICUBIC, box), np.float32) / 255


def probabilities(file: str) -> np.ndarray:
    """Of each class."""
    image = ((pixels(file) - ARRAYS["mean"]) / ARRAYS["std"]).astype(np.float32).transpose(2, 0, 1)[None]
    vector = ENCODER.run(None, {"image": image})[0][0].astype(np.float64) - ARRAYS["centre"]
    vector = vector / np.linalg.norm(vector) if HEAD["unit"] else vector
    logits = HEAD["tau"] * (ARRAYS["weight"] @ vector + ARRAYS["bias"])
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


def main(files: list[str]) -> int:
    """Print a line a photograph; returns the exit code."""
    if not files:
        print(f"usage: python {sys.argv[0]} PHOTO ...", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")  # Pillow's remarks on large files and odd metadata
    code = 0
    for file in files:
        try:
            shares = probabilities(file)
        except BadPhoto as error:
            print(f"{file} {error}", file=sys.stderr)
            code = 1
        else:
            print(f"{file}\t{HEAD['classes'][shares.argmax()]}\t{shares.max():.6f}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
