"""Durations in words."""

import io
import sys

import pytest

from core import progress
from core.progress import duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (3.21, "3.2 s"), (45, "45 s"), (99.6, "2 min"), (725, "12 min"), (12000, "3 h 20 min")],
)
def test_duration(seconds, words):
    assert duration(seconds) == words


def shown(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.bar(3, "steps") as bar:
        bar.update(3)
    return "steps" in stream.getvalue()


def test_a_bar_appears_at_a_terminal_alone(monkeypatch):
    assert shown(monkeypatch, Terminal())
    assert not shown(monkeypatch, io.StringIO())


def test_no_bar_appears_inside_hidden_and_the_next_one_does(monkeypatch):
    with progress.hidden():
        assert not shown(monkeypatch, Terminal())
    assert shown(monkeypatch, Terminal())


def test_bars_come_back_after_an_error_inside_hidden(monkeypatch):
    with pytest.raises(KeyError), progress.hidden():
        {}["absent"]
    assert shown(monkeypatch, Terminal())
