"""Folders of small images, in every kind and layout."""

import numpy as np
from PIL import Image


def picture(seed, width=20, height=16, mode="RGB"):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def write_class(folder, images=3, seed=0, suffix="png"):
    """A class folder of distinct images."""
    folder.mkdir(parents=True)
    for number in range(images):
        picture([seed, number]).save(folder / f"{folder.name}_{number}.{suffix}")
    return folder


def write_classes(folder, names, images=3, suffix="png"):
    for name in names:
        write_class(folder / name, images, seed=sum(map(ord, name)) * 1000 + len(name), suffix=suffix)
    return folder


def names(count):
    return [f"class {number:02d} é" for number in range(count)]
