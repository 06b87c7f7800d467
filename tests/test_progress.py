"""Bars appear at a terminal alone, and not inside `hidden`."""

import io
import sys

import pytest

from core import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


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
