"""Folders of small images, in every kind and layout."""

import struct

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


def deep_tiff():
    """A TIFF of three channels of 16 bits. Pillow opens it as RGB, but writes none, so the bytes are laid out here."""
    tags = [(256, 4, 8), (257, 4, 8), (258, 3, 134), (259, 3, 1), (262, 3, 2), (273, 4, 140), (277, 3, 3), (278, 4, 8)]
    tags.append((279, 4, 8 * 8 * 6))
    content = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    for tag, kind, value in tags:
        content += struct.pack("<HHII", tag, kind, 3 if tag == 258 else 1, value)
    return content.ljust(134, b"\0") + struct.pack("<3H", 16, 16, 16) + bytes(8 * 8 * 6)
