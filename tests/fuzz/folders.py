"""Odd archives, and odd folders that data sets are prepared from."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from core.prepare.archives import extract
from core.prepare.collect import Options
from core.prepare.prepare import prepare
from core.prepare.sources import source
from tests.fuzz.bench import Bench
from tests.fuzz.damage import damaged, edits, names, plain_name

ARCHIVES = ("zip", "tar", "tar.gz", "tar.xz", "tar.bz2")
TYPES = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
WORDS = ["a", "b", "../../out", "/tmp/out", "a/../../../out", "a\\..\\..\\out", "a/b", "", ".", "a\0b", "é", "\udcff"]
PLANTED = ("image", "text", "empty", "folder", "pipe", "loop")


class Folders:
    """Archives, and what lies in folders."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        members = st.lists(
            st.tuples(st.sampled_from(WORDS), st.sampled_from(TYPES), st.sampled_from(WORDS)), max_size=5
        )
        holders = st.one_of(st.sampled_from([f"class{number}" for number in range(6)]), names)
        planted = st.lists(st.tuples(holders, names, st.sampled_from(PLANTED)), max_size=5)
        self.targets: dict[str, tuple[Any, Any]] = {
            "archives": (st.tuples(st.sampled_from(ARCHIVES), edits), self.archive),
            "members of archives": (st.tuples(st.sampled_from(["zip", "tar"]), members), self.members),
            "folders of images": (planted, self.folder),
        }
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "PNG")
        self.png = buffer.getvalue()

    def _extract(self, file: Path) -> None:
        """Unpack; nothing may appear elsewhere, and nothing but regular files."""
        inside = self.bench.work / "inside" / "deep"
        try:
            extract(file, inside, limit=1 << 20)
        finally:
            outside = [path for path in self.bench.work.iterdir() if path.name not in ("inside", file.name)]
            outside += [path for path in (self.bench.work / "inside").iterdir() if path != inside]
            assert not outside, f"unpacked outside: {outside}"
            assert not any(path.is_symlink() for path in inside.rglob("*"))
            assert not Path("/tmp/out").exists()

    def archive(self, value: Any) -> None:
        """An archive with damaged bytes."""
        kind, harm = value
        buffer = io.BytesIO()
        if kind == "zip":
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
                for name in ("a/1.txt", "a/2.txt", "b/1.txt"):
                    file.writestr(name, name * 20)
        else:
            with tarfile.open(fileobj=buffer, mode="w:" + kind.removeprefix("tar").removeprefix(".")) as tar:
                for name in ("a/1.txt", "b/1.txt"):
                    member = tarfile.TarInfo(name)
                    member.size = len(name)
                    tar.addfile(member, io.BytesIO(name.encode()))
        self._extract(self.bench.file(f"x.{kind}", damaged(buffer.getvalue(), harm)))

    def members(self, value: Any) -> None:
        """A whole archive with odd members: links, devices, names that lead elsewhere."""
        kind, members = value
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") if kind == "tar" else zipfile.ZipFile(buffer, "w") as file:
            for name, of, target in members:
                if isinstance(file, tarfile.TarFile):
                    member = tarfile.TarInfo(name)
                    member.type, member.linkname = of, target
                    member.size = 2 if of == tarfile.REGTYPE else 0
                    with suppress(ValueError, UnicodeEncodeError):  # no archive can have this name
                        file.addfile(member, io.BytesIO(b"hi"))
                else:
                    info = zipfile.ZipInfo(name)
                    info.external_attr = (0o120777 if of == tarfile.SYMTYPE else 0o100644) << 16
                    with suppress(UnicodeEncodeError, IndexError):
                        file.writestr(info, target.encode("utf-8", "surrogatepass"))
        self._extract(self.bench.file(f"x.{kind}", buffer.getvalue()))

    def folder(self, value: Any) -> None:
        """A folder of class folders with odd names and odd things in it, prepared as a data set."""
        photos = self.bench.work / "photos"
        for number in range(6):
            for name in ("0.png", "1.png"):
                self.bench.file(f"photos/class{number}/{name}", self.png)
        for holder, name, kind in value:
            path = os.path.join(os.fsencode(photos), os.fsencode(plain_name(holder)), os.fsencode(plain_name(name)))
            with suppress(OSError, ValueError):  # no disk can have this name
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._plant(path, kind)
        prepare(self.bench.work / "made", source(f"folder:{photos}", ""), Options(size=8, workers=1))

    def _plant(self, path: bytes, kind: str) -> None:
        """Put something under a name."""
        if kind == "folder":
            os.makedirs(path)
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "loop":
            os.symlink(path, path)
        else:
            content = {"image": self.png, "text": b"no image", "empty": b""}[kind]
            with open(path, "xb") as file:
                file.write(content)
