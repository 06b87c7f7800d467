"""A picture of all answers: each photograph with its class and probability, the least certain first.

Of a rejected one the probability is left out, as it is that of a class which was not answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO

from PIL import Image, ImageDraw, ImageFont

from ..prepare.images import Decoding, decode
from .answers import Answer
from .fonts import font_for
from .photos import Photo

SIDE = 144  # of a photograph in pixels
LINE = 15  # height of a line of text
GAP = 8
COLUMNS = 8
MOST = 480  # photographs of one sheet
COMPRESSION = 3  # of the PNG: the default takes four times as long for a tenth less
WHITE, BLACK, GREY, RED, GREEN = "#ffffff", "#202020", "#808080", "#c62828", "#2e7d32"


def contact_sheet(rows: Sequence[Answer], photos: Mapping[str, Photo]) -> Image.Image:
    """The sheet; `photos` by their names. Frames: grey if rejected, and where the truth is known green or red."""
    shown = rows[:MOST]
    columns = min(COLUMNS, max(1, len(shown)))
    lines = -(-len(shown) // columns)
    width, height = SIDE + GAP, SIDE + 2 * LINE + GAP
    sheet = Image.new("RGB", (columns * width + GAP, max(1, lines) * height + GAP), WHITE)
    draw = ImageDraw.Draw(sheet)
    for place, row in enumerate(shown):
        left, top = GAP + place % columns * width, GAP + place // columns * height
        pixels = decode(photos[row.file].source, Decoding(SIDE))
        sheet.paste(Image.fromarray(pixels), (left, top))
        draw.rectangle((left - 2, top - 2, left + SIDE + 1, top + SIDE + 1), outline=_colour(row), width=3)
        for line, (text, colour) in enumerate(zip(caption(row), (BLACK, GREY), strict=True)):
            font = font_for(text, LINE - 4)
            draw.text((left, top + SIDE + 2 + line * LINE), _fitting(text, font), colour, font)
    return sheet


def write_sheet(rows: Sequence[Answer], photos: Mapping[str, Photo], file: BinaryIO) -> None:
    """The sheet as PNG."""
    contact_sheet(rows, photos).save(file, "PNG", compress_level=COMPRESSION)


def caption(row: Answer) -> tuple[str, str]:
    """The two lines below a photograph: the answer and the runner-up, or the class that a rejected one is nearest."""
    if row.rejected:
        return row.shown, f"nearest: {row.answer}"
    return f"{row.probability:.2f}  {row.shown}", f"{row.runner_up_probability:.2f}  {row.runner_up}"


def _colour(row: Answer) -> str:
    """The colour of a frame."""
    if row.rejected:
        return GREY
    if not row.truth:
        return WHITE
    return GREEN if row.answer == row.truth else RED


def _fitting(text: str, font: ImageFont.FreeTypeFont) -> str:
    """As much of a text as fits below a photograph."""
    while text and font.getlength(text) > SIDE:
        text = text[:-2] + "…" if len(text) > 1 else ""
    return text
