"""Files and folders that are there whole or not at all."""

import fcntl
import hashlib
import os
import time

import pytest

from core import files
from core.errors import UserError
from core.files import HiddenFolder, remove_abandoned, sha256, write_file, write_files, write_json, write_text


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
@pytest.mark.parametrize("where", ["content", "flush"])
def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error, raised, where):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(*_):
        raise error

    def write(file):
        file.write(b"half")
        if where == "content":
            fail()

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(raised):
        write_file(path, write)
    with pytest.raises(raised):
        write_json(tmp_path / "b.json", {})
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "ä\r\n\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "ä\r\n\n".encode()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"a.txt cannot be written \(.*\); make room, or give another folder\.$"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_files_of_every_kind(tmp_path):
    (tmp_path / "gone").touch()
    write_files(tmp_path, {"a.txt": "a", "b.json": {"b": 1}, "c": lambda file: file.write(b"c"), "gone": None})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.txt": "a",
        "b.json": '{\n "b": 1\n}\n',
        "c": "c",
    }


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_hidden_folder_appears_under_its_name(tmp_path):
    with HiddenFolder(tmp_path / "new", "a") as hidden:
        assert hidden.path.name.startswith(".a-")
        (hidden.path / "file").touch()
        assert hidden.rename(tmp_path / "new" / "a")
    assert [path.name for path in (tmp_path / "new").rglob("*")] == ["a", "file"]


def test_a_hidden_folder_that_is_not_renamed_leaves_nothing(tmp_path):
    with HiddenFolder(tmp_path / "new" / "deep", "a") as hidden:
        (hidden.path / "file").touch()
    assert not list(tmp_path.iterdir())


def test_the_first_of_two_folders_stays(tmp_path):
    for content in ("first", "second"):
        with HiddenFolder(tmp_path, "a") as hidden:
            (hidden.path / "file").write_text(content)
            assert hidden.rename(tmp_path / "a") == (content == "first")
    assert (tmp_path / "a" / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_folders_of_killed_processes_are_removed_and_others_stay(tmp_path):
    for name in (".a-killed", ".a-in use", ".a-starting", "a-complete"):
        (tmp_path / name).mkdir()
        if name != ".a-starting":
            os.utime(tmp_path / name, (time.time() - 3600,) * 2)
    lock = os.open(tmp_path / ".a-in use", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    remove_abandoned(tmp_path)
    os.close(lock)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a-in use", ".a-starting", "a-complete"]
