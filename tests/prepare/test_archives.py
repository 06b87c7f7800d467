"""Archives: what is in them, what they must not do, and damage."""

import io
import shutil
import tarfile
import zipfile

import pytest

from core.errors import UserError
from core.prepare.archives import extract
from tests.prepare.fake_benchmarks import prepared
from tests.prepare.fake_cifar import write_tar


def hostile_tar(path, name, link=False):
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(name)
        if link:
            info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    return path


def test_archives_cannot_leave_their_folder(tmp_path):
    for number, name in enumerate(("../out.png", "/abs.png", "a/../../out.png")):
        with pytest.raises(UserError, match="leads out of the folder"):
            prepared(tmp_path / "data", hostile_tar(tmp_path / f"{number}.tar", name))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as opened:
        opened.writestr("../out.png", b"x")
    with pytest.raises(UserError, match="leads out of the folder"):
        prepared(tmp_path / "data", tmp_path / "bad.zip")
    with pytest.raises(UserError, match=r"link.tar' holds no class folders"):
        prepared(tmp_path / "data", hostile_tar(tmp_path / "link.tar", "link", link=True))
    assert not (tmp_path / "data").exists()


def test_broken_archives(tmp_path, flat):
    whole = type(tmp_path)(shutil.make_archive(tmp_path / "flat", "gztar", tmp_path, "flat")).read_bytes()
    for ending in ("tar.gz", "zip"):
        broken = tmp_path / f"broken.{ending}"
        broken.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="not a readable archive, perhaps cut short"):
            prepared(tmp_path / "data", broken)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("compression", ["gz", "xz"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_archive(tmp_path, parts, read_cifar, compression, share):
    path = write_tar(tmp_path, parts, compression)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="not a readable archive"):
        read_cifar(path)


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_flipped_bit_in_an_archive(tmp_path, parts, read_cifar, compression):
    path = write_tar(tmp_path, parts, compression)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a readable archive"):
        read_cifar(path)


def test_links_and_folders_are_left_out_and_too_much_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("link", tarfile.SYMTYPE), ("folder", tarfile.DIRTYPE), ("file", tarfile.REGTYPE)):
            member = tarfile.TarInfo(f"inside/{name}")
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = 11 if name == "file" else 0
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    folder = extract(tmp_path / "a.tar", tmp_path / "unpacked")
    assert [path.name for path in (folder / "inside").iterdir()] == ["file"]
    with pytest.raises(UserError, match="unpacks to more than 10 bytes"):
        extract(tmp_path / "a.tar", tmp_path / "again", limit=10)
