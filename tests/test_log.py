"""The log goes to the terminal and to one file."""

import re

from core.log import start_log


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
