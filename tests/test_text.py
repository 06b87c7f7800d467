"""What a file's name may do at a terminal: be read, and nothing else."""

import pytest

from core.text import is_printable, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31m.png", "a\\x1b[31m.png"),
        ("a\rb", "a\\rb"),
        ("\u202egnp", "\\u202egnp"),
        ("Ärger 猫.png", "Ärger 猫.png"),
        ("می\u200cخواهم.png", "می\u200cخواهم.png"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert visible(text) == shown
    assert is_printable(text) == (text == shown)


def test_lines_stay_lines_unless_the_text_is_one_name():
    assert visible("one\ntwo") == "one\ntwo"
    assert visible("one\ntwo", "") == "one\\ntwo"
