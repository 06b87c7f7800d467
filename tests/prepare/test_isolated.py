"""A pickle is read by a process of its own; what kills or starves that process is one sentence."""

import os
import pickle
import resource
import sys
import time

import numpy as np
import pytest

from core.errors import UserError
from core.prepare import isolated
from core.prepare.isolated import read, read_here

LAUGHS = b"(lp0\n" + b"".join(b"0(lp%d\n" % (n + 1) + b"g%d\na" % n * 10 for n in range(20)) + b"."


def written(tmp_path, content):
    (tmp_path / "x.pkl").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 2))
    return tmp_path / "x.pkl"


@pytest.mark.parametrize("reader", [read, read_here])
def test_values_come_back(tmp_path, reader):
    array = np.arange(12, dtype=">f4").reshape(3, 4)
    value = {"a": [1, -2.5, None, True, 10**30], b"\xff": b"\x00\xff", "t": ("x", []), 3: {"d": "é"}, "n": float("inf")}
    content = reader("data", written(tmp_path, value | {"x": array, "again": array, "none": np.zeros((0, 5))}))
    assert content.pop("none").shape == (0, 5)
    x, again = content.pop("x"), content.pop("again")
    assert np.array_equal(x, array)
    assert x is again
    assert content == value | {"t": ["x", []]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LAUGHS, "needs more memory than a file of its size may; get it"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "needs more memory than a file of its size may; get it"),
        (b"(" * 100 + b"l" * 99 + b".", "is not a readable pickle, perhaps cut short"),
        ({"x": {1, 2}}, "is refused: it asks for __builtin__.set, and only arrays"),
        ({(1, 2): 3}, "is refused: it asks for a dict whose keys are neither text nor numbers"),
        (b"\x80\x04\x8f.", "is refused: it asks for a set, and only arrays"),
        (np.zeros(2, object), "is refused: it asks for numpy.dtype('O8'), and only arrays"),
        (b"", "is not a readable pickle, perhaps cut short"),
        (b"I" + b"9" * 5000 + b"\n.", "is not a readable pickle, perhaps cut short"),
    ],
)
def test_bombs_and_damage_are_sentences(tmp_path, content, says):
    path, began = written(tmp_path, content), time.monotonic()
    with pytest.raises(UserError) as refused:
        read("data", path)
    assert str(refused.value).startswith(f"{path} {says}")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os; os.kill(os.getpid(), 11)", "makes its reader fail (signal 11); get it from its publisher."),
        ("while True: pass", "takes longer to read than a file of its size may; get it from its publisher."),
        ("print('not an answer')", "makes its reader fail (signal none); get it from its publisher."),
    ],
)
def test_a_reader_that_dies_is_a_sentence(tmp_path, monkeypatch, code, says):
    """Whatever a file does to the child, the parent lives."""
    monkeypatch.setattr(isolated, "_command", lambda kind, path: [sys.executable, "-c", code])
    monkeypatch.setattr(isolated, "SECONDS", (0.2, 0.0))
    path = written(tmp_path, [1])
    with pytest.raises(UserError) as refused:
        isolated.read("data", path)
    assert str(refused.value) == f"{path} {says}"


def test_the_limits_are_set(tmp_path):
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)
    pid = os.fork()
    if not pid:
        isolated._limit(1000)
        memory, seconds, file = (resource.getrlimit(kind)[0] for kind in kinds)
        os._exit(0 if memory <= isolated.MEMORY[0] + 8000 and seconds <= 11 and file == 0 else 1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: None])
def test_what_is_no_file_is_refused_and_nothing_hangs(tmp_path, make):
    path = tmp_path / "x.pkl"
    make(path)
    with pytest.raises(UserError, match=r"x\.pkl (is no regular file|cannot be read)"):
        read("data", path)
