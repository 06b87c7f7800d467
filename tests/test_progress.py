"""Progress bars, and durations in words."""

import io
import sys

import pytest

from core import progress
from core.progress import duration
from tests.terminal import Terminal


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


def test_a_bar_follows_a_file_that_is_read(tmp_path, monkeypatch):
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(range(256)) * 4000)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.reading(file, "hashing") as opened:
        opened.seek(512_000)
        assert opened.read(1) == b"\0"
        opened.seek(0)
        assert opened.read() == file.read_bytes()
    assert "hashing:   0%" in terminal.getvalue()
    assert "1.02M" in terminal.getvalue()


def test_a_file_that_is_not_there_leaves_no_bar(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(FileNotFoundError), progress.reading(tmp_path / "absent", "hashing"):
        pass
    assert not sys.stderr.getvalue()
