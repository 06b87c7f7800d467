import unicodedata

import pytest

from core.data.store import SPLITS
from core.prepare.glyph_fonts import (
    ALIKE_BY_EYE,
    REFERENCE_FONTS,
    SAME_ASPECT,
    SAME_SHAPE,
    SCRIPTS,
    alphabets,
    difference,
    holders,
    ink,
    letter_shapes,
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
    letters = {split: "".join(char for char in chars if name in holders(char)) for split, chars in alphabets().items()}
    for split, earlier in (("test", letters["train"]), ("val", letters["train"] + letters["test"])):
        shapes = letter_shapes(earlier, name)
        for char in letters[split]:
            assert difference(letter_shapes(char, name), shapes) >= SAME_SHAPE[split], char


def test_known_look_alikes_are_one_class():
    chosen = set().union(*alphabets().values())
    assert "A" in chosen
    assert not chosen & ({"Α", "А", "о", "ο", "օ", "c"} | ALIKE_BY_EYE)


def test_a_wider_letter_is_the_same_letter():
    wide = letter_shapes("Q", "DejaVuSans")
    assert difference(wide, letter_shapes("BQ", "DejaVuSans")) == 0
    assert difference(wide, letter_shapes("B", "DejaVuSans")) > 0.2


def test_the_first_letter_differs_from_none():
    assert difference(letter_shapes("Q", "DejaVuSans"), letter_shapes("", "DejaVuSans")) == 1


def test_shapes_differ_as_the_sums_of_their_ink_say():
    one, *others = (letter_shapes(char, "DejaVuSerif") for char in "OCQ|")
    distances = []
    for other in others:
        forms = [(one.fitted[0], other.fitted[0])]
        ratio = float(one.aspect[0] / other.aspect[0])
        if max(ratio, 1 / ratio) < SAME_ASPECT:
            forms.append((one.stretched[0], other.stretched[0]))
        for a, b in forms:
            unequal = sum(abs(float(x) - float(y)) for x, y in zip(a, b, strict=True))
            distances.append(unequal / sum(float(x) + float(y) for x, y in zip(a, b, strict=True)))
    assert difference(one, others[0] + others[1] + others[2]) == pytest.approx(min(distances), rel=1e-5)


def test_no_font_draws_its_box_for_missing_characters():
    for char in set().union(*alphabets().values()):
        fonts = holders(char)
        assert len(fonts) >= 2
        missing = ink("\U000f0000", fonts[0], 32)
        drawn = ink(char, fonts[0], 32)
        assert drawn.size != missing.size or drawn.tobytes() != missing.tobytes(), char
