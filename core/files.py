"""Files and folders that are there whole or not at all, and hashes of files.

A file is written under a hidden name, flushed and renamed. A folder is built under a hidden name and renamed; it is
locked while its writer lives, so that what a killed process left behind can be told from work in progress and removed.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import lzma
import os
import shutil
import stat
import tempfile
import time
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from .errors import UserError
from .progress import reading

# What readers of arrays, archives and JSON raise where a file is damaged. RuntimeError: HDF5, encrypted and deep files.
DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, IndexError, OverflowError, MemoryError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
YOUNG = 60.0  # seconds within which the writer of a hidden folder may not have locked it yet


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while `path` is written into one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be written ({reason}); make room, or give another folder.") from error


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` with a new file, flush it, and rename it to `path`; a failure leaves the old file as it was.

    Raises:
        UserError: where the disk refuses.
    """
    building = path.with_name(f".{path.name}.{os.getpid()}")
    if os.path.exists(path) and not os.path.islink(path) and not os.path.isfile(path):
        raise UserError(f"{path} is no regular file, and is not replaced; give another name.")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _open_locked(building) as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                building.replace(path)
    finally:
        with suppress(OSError):
            building.unlink(missing_ok=True)
    remove_abandoned_files(path.parent, glob.escape(path.name))


def _open_locked(path: Path) -> BinaryIO:
    """A new file, locked while its writer lives, so that nobody takes it for what a killed process left."""
    while True:
        file = path.open("wb")
        with suppress(OSError):  # a disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # removed between its opening and its lock


def remove_abandoned_files(folder: Path, pattern: str) -> None:
    """Remove the files that killed processes left of writing files of a name, or of names that match a pattern."""
    for path in folder.glob(f".{pattern}.*"):
        if not path.name.rpartition(".")[2].isdecimal():
            continue
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:  # in use, or removed by another process
            continue


def write_text(path: Path, text: str) -> None:
    """Write a text file; see `write_file`."""
    write_file(path, lambda file: file.write(text.encode()))


def write_json(path: Path, content: Any) -> None:
    """Write a readable JSON file; see `write_file`."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


# A text, a mapping to write as JSON, a function that writes the bytes, or None for a file that must not be there.
FileContent = str | Mapping[str, Any] | Callable[[BinaryIO], object] | None


def write_files(folder: Path, files: Mapping[str, FileContent]) -> None:
    """Write several files in their order, each whole or not at all."""
    for name, content in files.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        elif isinstance(content, str):
            write_text(folder / name, content)
        elif isinstance(content, Mapping):
            write_json(folder / name, content)
        else:
            write_file(folder / name, content)


def read_regular(path: Path) -> bytes:
    """The content of a regular file. A pipe would hang its reader, and a device may never end.

    Raises:
        OSError: where it is not there, or something else.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return opened.read()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with reading(path, "hashing") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class HiddenFolder:
    """A new folder called `.<name>-<random>` in `parent`, for a folder that is not complete yet.

    Making it removes the hidden folders that killed processes left in `parent`. On exit it is removed, unless it was
    renamed, and so are the parents that were made for it and are still empty.
    """

    def __init__(self, parent: Path, name: str) -> None:
        self._new_parents = [folder for folder in (parent, *parent.parents) if not folder.exists()]
        parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> HiddenFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        with suppress(OSError):  # not empty
            for folder in self._new_parents:
                folder.rmdir()

    def rename(self, target: Path) -> bool:
        """Give the complete folder its name; False where `target` is there already, which then stays as it is."""
        self.path.chmod(0o755)
        try:
            os.rename(self.path, target)
        except OSError:
            if target.exists():
                return False
            raise
        return True


def remove_abandoned(parent: Path) -> None:
    """Remove the hidden folders that killed processes left; those in use are locked."""
    for folder in parent.glob(".*-*"):
        try:
            if not folder.is_dir() or time.time() - folder.stat().st_mtime < YOUNG:
                continue
            lock = os.open(folder, os.O_RDONLY)
        except OSError:  # another process removed it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # in use
            pass
        finally:
            os.close(lock)
