"""Unpack archives into a scratch folder: nothing outside it, no links, no more than a sane size."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from ..errors import UserError
from ..files import DAMAGE
from ..progress import reading

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
LIMIT = 1 << 38  # bytes in all; ImageNet is 2**37.1


def is_archive(path: Path) -> bool:
    """Whether a file is named as an archive."""
    return os.path.isfile(path) and path.name.lower().endswith(ENDINGS)


def extract(archive: Path, into: Path, limit: int = LIMIT) -> Path:
    """Unpack the regular files of an archive into the new folder `into`; links and devices are left out."""
    total = 0
    try:
        into.mkdir(parents=True)
        for name, size, file in _members(archive):
            total += size
            if total > limit:
                raise UserError(f"{archive} unpacks to more than {limit} bytes; get it from its publisher.")
            target = into / _safe(name, archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(file, out, 1 << 20)
    except (*DAMAGE, tarfile.TarError) as error:
        if "encrypted" in str(error):
            raise UserError(f"{archive} is encrypted; unpack it, and give the folder.") from error
        if isinstance(error, OSError) and error.errno:
            raise UserError(
                f"{archive} cannot be unpacked into {into.parent} ({error.strerror}); make room."
            ) from error
        raise UserError(f"{archive} is not a readable archive, perhaps cut short; get it again.") from error
    return into


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of each regular file."""
    with reading(archive, "unpacking") as packed:
        yield from _members_of_zip(packed) if archive.suffix.lower() == ".zip" else _members_of_tar(packed)


def _members_of_zip(archive: BinaryIO) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if not info.is_dir() and (info.external_attr >> 28) in (0, 0o10):  # no link, no device
                with opened.open(info) as file:
                    yield info.filename, info.file_size, file


def _members_of_tar(archive: BinaryIO) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(fileobj=archive, mode="r:*") as opened:
        for member in opened:
            content = opened.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, member.size, content
        while opened.fileobj.read(1 << 20):  # the checksum is behind the last byte
            pass


def _safe(name: str, archive: Path) -> PurePosixPath:
    """A member's path; one that leads out of the folder is refused."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise UserError(
            f"{archive} is refused: its member {name!r} leads out of the folder; get it from its publisher."
        )
    return path
