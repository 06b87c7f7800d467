"""Answer which class photographs are of:  python predict.py PHOTO ...

Needs onnxruntime, numpy and Pillow. Prints a line a photograph: file, class, probability. FiveWay wrote this folder.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
HEAD = json.loads((HERE / "head.json").read_text(encoding="utf-8"))
ARRAYS = np.load(HERE / "head.npz", allow_pickle=False)
ENCODER = onnxruntime.InferenceSession(HERE / "encoder.onnx", providers=["CPUExecutionProvider"])


def pixels(file: str) -> np.ndarray:
    """The centre square of a photograph, [size, size, 3] in 0..1."""
    image: Image.Image = Image.open(file)
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


for name in sys.argv[1:]:
    shares = probabilities(name)
    print(f"{name}\t{HEAD['classes'][shares.argmax()]}\t{shares.max():.6f}")
