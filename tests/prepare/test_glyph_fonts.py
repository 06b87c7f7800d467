import unicodedata

import pytest

from core.data.store import SPLITS
from core.prepare.glyph_fonts import (
    ALIKE_BY_EYE,
    REFERENCE_FONTS,
    SAME_SHAPE,
    SCRIPTS,
    alphabets,
    difference,
    holders,
    ink,
    letter_shape,
)


def test_splits_share_no_script():
    scripts = {split: {unicodedata.name(char).split()[0] for char in chars} for split, chars in alphabets().items()}
    assert scripts == {split: set(SCRIPTS[split]) for split in SPLITS}
    assert len(set.union(*scripts.values())) == sum(len(names) for names in scripts.values())


def test_enough_classes():
    counts = {split: len(chars) for split, chars in alphabets().items()}
    assert counts["train"] >= 250
    assert counts["val"] >= 60
    assert counts["test"] >= 90


@pytest.mark.parametrize("name", REFERENCE_FONTS)
def test_no_class_looks_like_one_of_another_split(name):
    letters = {split: [char for char in chars if name in holders(char)] for split, chars in alphabets().items()}
    shapes = {split: [letter_shape(char, name) for char in chars] for split, chars in letters.items()}
    for split, earlier in (("test", shapes["train"]), ("val", shapes["train"] + shapes["test"])):
        for char, one in zip(letters[split], shapes[split], strict=True):
            assert difference(one, earlier) >= SAME_SHAPE[split], char


def test_known_look_alikes_are_one_class():
    chosen = set().union(*alphabets().values())
    assert "A" in chosen
    assert not chosen & ({"Α", "А", "о", "ο", "օ", "c"} | ALIKE_BY_EYE)


def test_a_wider_letter_is_the_same_letter():
    assert (
        difference(letter_shape("Q", "DejaVuSans"), [letter_shape("B", "DejaVuSans"), letter_shape("Q", "DejaVuSans")])
        == 0
    )
    assert difference(letter_shape("Q", "DejaVuSans"), [letter_shape("B", "DejaVuSans")]) > 0.2


def test_no_font_draws_its_box_for_missing_characters():
    for char in set().union(*alphabets().values()):
        fonts = holders(char)
        assert len(fonts) >= 2
        missing = ink("\U000f0000", fonts[0], 32)
        drawn = ink(char, fonts[0], 32)
        assert drawn.size != missing.size or drawn.tobytes() != missing.tobytes(), char
