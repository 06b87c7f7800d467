"""Fonts that have the letters of a name."""

from pathlib import Path

import matplotlib
from matplotlib import font_manager

from core.predict.fonts import font_for

STIX = str(Path(matplotlib.get_data_path()) / "fonts/ttf/STIXGeneral.ttf")
STIX_ALONE = "\u210a"  # a script g, which DejaVu Sans lacks


def name_of(text):
    return Path(font_for(text, 11).path).stem


def test_the_usual_font_writes_what_it_can():
    assert name_of("Ährenfeld, Ячмень") == "DejaVuSans"
    assert font_for("a", 20).size == 20


def test_another_font_of_the_machine_writes_the_rest(monkeypatch, tmp_path):
    font_for.cache_clear()
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(broken), STIX])
    assert name_of(f"a {STIX_ALONE}") == "STIXGeneral"
    assert name_of("\U0010fffd") == "DejaVuSans"  # no font has it
    font_for.cache_clear()
