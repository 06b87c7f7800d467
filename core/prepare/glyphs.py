"""Glyphs: a data set that FiveWay draws in seconds, from the fonts that matplotlib ships.

A class is a Unicode letter. Training letters are Latin and Cyrillic, validation letters Hebrew, Lao and Tifinagh, test
letters Greek, Georgian and Armenian: test classes come from alphabets that training does not show, as in Omniglot.
Each image is a light letter on a darker textured ground, in any font that holds the letter, rotated, sheared, scaled,
moved and thickened at random, with noise.

Its word vectors come from the letters' Unicode names: see `word_vectors`.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from .. import progress
from ..data.store import SPLITS, prepared, split_dir, write_split
from ..errors import UserError
from .glyph_fonts import alphabets, holders, ink

NAME = "Glyphs"
SEED = 2024
IMAGES = 20  # of a class: 5 supports and 15 queries
SMALLEST = 16  # pixels
WORD_DIM = 64

OVERSAMPLING = 3
ROTATION = 15.0  # degrees either way
SHEAR = 0.2
SHIFT = 0.08  # of the image's side
SCALE = (0.5, 0.8)  # longest side of the ink, as a share of the image's
STROKE = 0.025  # largest thickening, as a share of the image's side
GROUND, LIGHT = (0.0, 0.45), (0.55, 1.0)  # colour ranges of the ground and the letter
TEXTURE_GRIDS = (4, 9)  # knots along a side
TEXTURE = 0.25  # largest amplitude of each grid
NOISE = 0.06  # largest standard deviation of the pixel noise


@dataclass(frozen=True)
class Look:
    """How one image of a letter is drawn. Lengths are shares of the image's side, so that every size looks alike."""

    font: str
    angle: float  # degrees
    shear: float
    shift: np.ndarray  # [2]
    scale: float
    stroke: float
    ground: np.ndarray  # [3] in 0..1
    light: np.ndarray  # [3] in 0..1
    textures: list[np.ndarray]  # each [knots, knots, 3]
    noise: float


def draw_look(rng: np.random.Generator, fonts: list[str]) -> Look:
    """Draw the look of one image."""
    return Look(
        font=fonts[rng.integers(len(fonts))],
        angle=rng.uniform(-ROTATION, ROTATION),
        shear=rng.uniform(-SHEAR, SHEAR),
        shift=rng.uniform(-SHIFT, SHIFT, 2),
        scale=rng.uniform(*SCALE),
        stroke=rng.uniform(0, STROKE),
        ground=rng.uniform(*GROUND, 3),
        light=rng.uniform(*LIGHT, 3),
        textures=[rng.uniform(0, TEXTURE) * rng.uniform(-1, 1, (knots, knots, 3)) for knots in TEXTURE_GRIDS],
        noise=rng.uniform(0, NOISE),
    )


def letter_mask(char: str, look: Look, size: int) -> np.ndarray:
    """Coverage of the letter, [size, size] in 0..1."""
    side = OVERSAMPLING * size
    mask = ink(char, look.font, side, look.stroke * side)
    scale = look.scale * side / max(mask.size)
    angle = math.radians(look.angle)
    cos, sin = math.cos(angle), math.sin(angle)
    forward = scale * np.array([[cos, cos * look.shear - sin], [sin, sin * look.shear + cos]])
    inverse = np.linalg.inv(forward)
    place = side * (0.5 + look.shift)
    offset = np.array(mask.size) / 2 - inverse @ place
    coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
    drawn = mask.transform((side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(drawn.reduce(OVERSAMPLING), dtype=np.float32) / 255


def smooth(knots: np.ndarray, size: int) -> np.ndarray:
    """A grid of colours [k, k, 3] blended into a texture [size, size, 3]."""
    at = (np.arange(size) + 0.5) / size * (len(knots) - 1)
    low = np.minimum(at.astype(int), len(knots) - 2)
    part = at - low
    part = part * part * (3 - 2 * part)  # no creases at the knots
    rows = knots[low] + (knots[low + 1] - knots[low]) * part[:, None, None]
    return rows[:, low] + (rows[:, low + 1] - rows[:, low]) * part[None, :, None]


def render_image(char: str, number: int, size: int, seed: int = SEED) -> np.ndarray:
    """Image `number` of a letter, [size, size, 3] uint8: a function of these arguments and the fonts alone."""
    rng = np.random.default_rng([seed, ord(char), number])
    look = draw_look(rng, holders(char))
    ground = look.ground + sum(smooth(knots, size) for knots in look.textures)
    mask = letter_mask(char, look, size)[..., None]
    image = ground + mask * (look.light - ground) + look.noise * rng.standard_normal((size, size, 3))
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)


def render_letters(chars: list[str], size: int, images: int = IMAGES, seed: int = SEED) -> np.ndarray:
    """All images of some letters, [letters * images, size, size, 3] uint8."""
    numbered = [(char, number) for char in chars for number in range(images)]
    images_drawn = []
    with progress.bar(len(numbered), "images", name=f"{NAME} {size} px") as bar:
        for char, number in numbered:
            images_drawn.append(render_image(char, number, size, seed))
            bar.update()
    return np.stack(images_drawn)


def token_vector(token: str) -> np.ndarray:
    """A pseudo-random Gaussian vector that depends on the token alone, [WORD_DIM]."""
    seed = int.from_bytes(hashlib.sha256(token.encode()).digest(), "big")
    return np.random.default_rng(seed).standard_normal(WORD_DIM)


def word_vectors(names: list[str]) -> np.ndarray:
    """Unit vectors of Unicode names, [names, WORD_DIM] float32.

    A name's vector is the mean of its tokens' vectors, scaled to length 1. Names that share tokens are similar: GREEK
    SMALL LETTER ALPHA is nearer to GREEK SMALL LETTER BETA than to ARMENIAN CAPITAL LETTER BEN.
    """
    vectors = np.stack([np.mean([token_vector(token) for token in name.split(" ")], axis=0) for name in names])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def class_names() -> dict[str, list[str]]:
    """The Unicode names of the letters of each split."""
    return {split: [unicodedata.name(char) for char in chars] for split, chars in alphabets().items()}


def render_glyphs(root: Path, size: int) -> None:
    """Draw and pack the splits that are not on disk yet."""
    if size < SMALLEST:
        raise UserError(f"DATASET.SIZE is {size}, at which Glyphs is not legible; give {SMALLEST} or more.")
    source = f"drawn from the fonts of matplotlib {version('matplotlib')}, Pillow {PIL.__version__}, seed {SEED}"
    for split in SPLITS:
        folder = split_dir(root, NAME, size, split)
        if prepared([folder]):
            continue
        chars = alphabets()[split]
        names = class_names()[split]
        write_split(
            folder,
            NAME,
            render_letters(chars, size),
            np.repeat(np.arange(len(chars)), IMAGES),
            names,
            [f"{number:02d}.png" for _ in chars for number in range(IMAGES)],
            source=source,
            vectors=word_vectors(names),
        )
