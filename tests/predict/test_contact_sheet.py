"""The picture of all answers."""

import io

import numpy as np
from PIL import Image

from core.predict.contact_sheet import COLUMNS, GAP, SIDE, caption, contact_sheet, write_sheet
from tests.predict.photos import drawn
from tests.predict.test_answers import row


def test_every_photo_is_there_with_the_frame_of_its_answer():
    photos = {photo.name: photo for photo in drawn([0, 1, 2], range(4))}
    rows = [row(file=name) for name in photos]
    rows[1] = row("bear", "apple", file=rows[1].file)
    rows[2] = row("", file=rows[2].file)
    rows[3] = row(rejected=True, file=rows[3].file)
    sheet = np.asarray(contact_sheet(rows, photos))
    frames = [tuple(sheet[GAP - 1, GAP + i * (SIDE + GAP) + 5]) for i in range(4)]
    assert frames == [(0x2E, 0x7D, 0x32), (0xC6, 0x28, 0x28), (255, 255, 255), (0x80, 0x80, 0x80)]
    assert sheet.shape[1] == COLUMNS * (SIDE + GAP) + GAP
    centre = sheet[GAP + SIDE // 2, GAP + SIDE // 2]
    assert not (centre == 255).all()


def test_a_rejected_photo_has_no_probability():
    assert caption(row()) == ("0.75  apple", "0.25  bear")
    assert caption(row(rejected=True)) == ("none of these", "nearest: apple")


def test_a_sheet_without_answers_and_names_that_do_not_fit():
    assert contact_sheet([], {}).size[0] > 0
    (photo,) = drawn([0], [0])
    file = io.BytesIO()
    write_sheet([row("Ж" * 200, "Ж" * 200, file=photo.name)], {photo.name: photo}, file)
    assert Image.open(file).format == "PNG"
