"""The log beside a progress bar, with and without colours."""

import logging
import re
import sys

import pytest
from tqdm import tqdm

from core.log import log_result, start_log
from tests.terminal import Terminal


@pytest.fixture(autouse=True)
def without_handlers():
    yield
    log = logging.getLogger("fiveway")
    for handler in log.handlers:
        handler.close()
    log.handlers = []


def at_terminal(monkeypatch):
    """A terminal that shows what goes to either stream. (pytest sets the streams after the fixtures are made.)"""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return terminal


def test_a_line_is_not_glued_to_the_bar(monkeypatch):
    screen = at_terminal(monkeypatch)
    start_log()
    with tqdm(total=10, file=screen, leave=False, mininterval=0) as bar:
        bar.update()
        logging.getLogger("fiveway").info("meta epoch 1 of 3")
    (before,) = [line for line in screen.getvalue().split("\n") if "meta epoch 1 of 3" in line]
    assert before.split("\r")[-1] == "meta epoch 1 of 3"  # what is left of that line on the screen
    assert not before.split("\r")[-2].strip()  # the bar was wiped first


def test_the_result_is_emphasised_at_a_terminal_and_nothing_else_is(monkeypatch):
    screen = at_terminal(monkeypatch)
    start_log().info("a line")
    log_result("ProtoNet 50 %\nresult files  eval")
    assert screen.getvalue() == "a line\n\033[1;32mProtoNet 50 %\033[0m\nresult files  eval\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(monkeypatch, name, value):
    screen = at_terminal(monkeypatch)
    monkeypatch.setenv(name, value)
    start_log()
    log_result("ProtoNet 50 %")
    assert screen.getvalue() == "ProtoNet 50 %\n"


def test_a_pipe_and_the_log_file_get_plain_text(tmp_path, capsys):
    start_log(tmp_path / "train.log")
    log_result("ProtoNet 50 %")
    assert capsys.readouterr().out == "ProtoNet 50 %\n"
    assert (tmp_path / "train.log").read_text().endswith("  ProtoNet 50 %\n")


def test_lines_go_to_the_terminal_and_with_their_time_to_the_file(tmp_path, capsys):
    start_log(tmp_path / "train.log").info("stage meta")
    start_log()
    assert capsys.readouterr().out == "stage meta\n"
    line = (tmp_path / "train.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  stage meta\n", line)


def test_a_new_log_leaves_the_file_of_the_old_one(tmp_path, capsys):
    start_log(tmp_path / "a.log").info("first")
    start_log(tmp_path / "b.log").info("second")
    start_log()
    assert capsys.readouterr().out == "first\nsecond\n"
    assert [(tmp_path / name).read_text()[21:] for name in ("a.log", "b.log")] == ["first\n", "second\n"]


def test_a_name_gives_the_terminal_no_orders(monkeypatch):
    screen = at_terminal(monkeypatch)
    start_log()
    logging.getLogger("fiveway").info("weights  %s", "a\x1b]0;title\x07.pth")
    assert screen.getvalue() == "weights  a\\x1b]0;title\\x07.pth\n"
