"""Fonts of this machine for the names of a user's classes, in whatever script these are."""

from __future__ import annotations

import functools

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

USUAL = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew


@functools.lru_cache(maxsize=1024)
def font_for(text: str, pixels: int) -> ImageFont.FreeTypeFont:
    """The first font with all letters of a text, the usual one before others; the usual one where there is none."""
    usual = font_manager.findfont(USUAL)
    if _writes(usual, text):
        return ImageFont.truetype(usual, pixels)
    others = sorted(font_manager.findSystemFonts())
    return ImageFont.truetype(next((file for file in others if _writes(file, text)), usual), pixels)


def _writes(file: str, text: str) -> bool:
    """Whether a font has every letter of a text."""
    return _letters(file).issuperset(map(ord, text))


@functools.cache
def _letters(file: str) -> frozenset[int]:
    """The letters of a font file; none where it cannot be read."""
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
