"""The alphabets of Glyphs: which characters the fonts of matplotlib hold, and which of them look the same."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UserError

SCRIPTS = {
    "train": ("LATIN", "CYRILLIC"),
    "val": ("HEBREW", "LAO", "TIFINAGH"),
    "test": ("GREEK", "GEORGIAN", "ARMENIAN"),
}
MIN_FONTS = {"train": 8, "val": 2, "test": 8}
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
)
REFERENCE_FONTS = ("DejaVuSans", "DejaVuSerif")  # shapes are compared in these two
SHAPE_SIZE = 24
# Share of the ink of two shapes that differs, below which they count as one letter.
SAME_SHAPE = {"train": 0.15, "val": 0.22, "test": 0.22}
SAME_ASPECT = 1.3  # ratio of two aspect ratios, below which shapes are also compared as squares
TWO_LETTERS = 0.5  # difference of one character in the two reference fonts, above which it is no class
# Letters that a reader takes for V, ß, Ѱ, ɸ, Қ, M and S of the training split, though their outlines differ more.
ALIKE_BY_EYE = frozenset("νβΨφϏϺႽ")


def font_file(name: str) -> Path:
    """Path of a font that matplotlib ships."""
    import matplotlib  # slow to import

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    if not path.is_file():
        raise UserError(
            f"Glyphs is drawn with the fonts of matplotlib, and {path} is missing: install matplotlib with pip."
        )
    return path


@cache
def font(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    """A font at a size; the basic layout engine is the one that every Pillow has."""
    return ImageFont.truetype(str(font_file(name)), pixels, layout_engine=ImageFont.Layout.BASIC)


@cache
def _charmap(name: str) -> frozenset[int]:
    """The code points that a font holds; for any other it would draw a box."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(font_file(name))).get_charmap())


def holders(char: str) -> list[str]:
    """The names of the fonts that hold a character."""
    return [name for name in FONTS if ord(char) in _charmap(name)]


def ink(char: str, name: str, pixels: int, stroke: float = 0.0) -> Image.Image:
    """A character cropped to its ink, light on black."""
    face = font(name, pixels)
    left, top, right, bottom = face.getbbox(char, stroke_width=stroke)
    mask = Image.new("L", (max(1, int(right - left) + 4), max(1, int(bottom - top) + 4)))
    ImageDraw.Draw(mask).text((2 - left, 2 - top), char, fill=255, font=face, stroke_width=stroke)
    return mask.crop(mask.getbbox() or (0, 0, 1, 1))


@dataclass(frozen=True)
class LetterShapes:
    """The shapes of n letters without their sizes and places."""

    fitted: np.ndarray  # [n, SHAPE_SIZE ** 2] in 0..1, width and height in proportion
    stretched: np.ndarray  # [n, SHAPE_SIZE ** 2] in 0..1, stretched to a square
    aspect: np.ndarray  # [n], width over height

    def __add__(self, more: LetterShapes) -> LetterShapes:
        pairs = ((self.fitted, more.fitted), (self.stretched, more.stretched), (self.aspect, more.aspect))
        return LetterShapes(*(np.concatenate(pair) for pair in pairs))


def letter_shapes(letters: str, name: str) -> LetterShapes:
    """The shapes of letters in a font."""
    fitted = np.zeros((len(letters), SHAPE_SIZE, SHAPE_SIZE), np.float32)
    stretched, aspect = np.zeros_like(fitted), np.ones(len(letters))
    for place, letter in enumerate(letters):
        mask = ink(letter, name, 4 * SHAPE_SIZE)
        scale = SHAPE_SIZE / max(mask.size)
        width, height = (max(1, round(side * scale)) for side in mask.size)
        canvas = Image.new("L", (SHAPE_SIZE, SHAPE_SIZE))
        resized = mask.resize((width, height), Image.Resampling.BOX)
        canvas.paste(resized, ((SHAPE_SIZE - width) // 2, (SHAPE_SIZE - height) // 2))
        fitted[place] = np.asarray(canvas)
        stretched[place] = np.asarray(mask.resize((SHAPE_SIZE, SHAPE_SIZE), Image.Resampling.BOX))
        aspect[place] = mask.width / mask.height
    rows = (len(letters), SHAPE_SIZE**2)
    return LetterShapes(fitted.reshape(rows) / 255, stretched.reshape(rows) / 255, aspect)


def differing_ink(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of the ink of two drawings that differs: 0 for the same drawing, 1 without any overlap."""
    distance = np.subtract(first, second)
    np.abs(distance, out=distance)  # in place, as this is most of the time that Glyphs takes
    return distance.sum(-1) / np.maximum(first.sum(-1) + second.sum(-1), 1e-6)


def difference(shape: LetterShapes, others: LetterShapes) -> float:
    """How much one shape differs from the most similar of others, 0 to 1; 1 where there are no others.

    Shapes of similar proportions are also compared after both are stretched to a square: a wider Q is a Q.
    """
    differences = differing_ink(shape.fitted, others.fitted)
    ratio = others.aspect / shape.aspect
    comparable = np.maximum(ratio, 1 / ratio) < SAME_ASPECT
    stretched = differing_ink(shape.stretched, others.stretched[comparable])
    differences[comparable] = np.minimum(differences[comparable], stretched)
    return float(differences.min(initial=1))


def candidates(split: str) -> list[str]:
    """Letters of a split's scripts, without accented ones and those that too few fonts hold."""
    letters = []
    for point in sorted(_charmap("DejaVuSans")):
        char = chr(point)
        script = unicodedata.name(char, "").split(" ")[0]
        if script not in SCRIPTS[split] or unicodedata.category(char) not in ("Lu", "Ll", "Lo") or char in ALIKE_BY_EYE:
            continue
        if not unicodedata.decomposition(char) and len(holders(char)) >= MIN_FONTS[split]:
            letters.append(char)
    return letters


@cache
def alphabets() -> dict[str, list[str]]:
    """The classes of each split, with every letter left out that looks like an earlier one.

    Latin A, Greek Alpha and Cyrillic A are one shape: without this a test class would look like a training class.
    Training letters come first and keep theirs, then test letters, then validation letters.
    """
    chosen: dict[str, list[str]] = {}
    kept = {name: letter_shapes("", name) for name in REFERENCE_FONTS}
    for split in ("train", "test", "val"):
        chosen[split] = []
        for char in candidates(split):
            shapes = {name: letter_shapes(char, name) for name in REFERENCE_FONTS if ord(char) in _charmap(name)}
            alike = any(difference(shapes[name], kept[name]) < SAME_SHAPE[split] for name in shapes)
            if alike or _two_letters(list(shapes.values())):
                continue
            chosen[split].append(char)
            for name in shapes:
                kept[name] += shapes[name]
    return chosen


def _two_letters(shapes: list[LetterShapes]) -> bool:
    """Whether the reference fonts draw one character as two different letters, as some old Georgian ones."""
    return len(shapes) == 2 and difference(*shapes) > TWO_LETTERS
