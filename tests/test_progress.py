"""Durations in words."""

import pytest

from core.progress import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (3.21, "3.2 s"), (45, "45 s"), (99.6, "2 min"), (725, "12 min"), (12000, "3 h 20 min")],
)
def test_duration(seconds, words):
    assert duration(seconds) == words
