"""Packing: bad images, processes, duplicates, and what a disk can do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from core.data.store import SPLITS
from core.errors import UserError
from core.prepare import lowshot, packing
from core.prepare.collect import Options
from core.prepare.images import Decoding
from core.prepare.prepare import check_prepared, prepare
from core.prepare.sources import source
from tests.prepare.fake_features import ORDER, features, small_lowshot, write_npz
from tests.prepare.fake_images import names, picture, write_classes
from tests.prepare.folders import prepared


def test_all_bad_images_are_named_at_once_and_nothing_is_written(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    (photos / names(6)[0] / "empty.png").write_bytes(b"")
    picture(0, mode="CMYK").save(photos / names(6)[5] / "print.jpg")
    with pytest.raises(UserError) as caught:
        prepared(photos, tmp_path / "data")
    assert "2 images cannot be used" in str(caught.value)
    assert "empty.png is empty" in str(caught.value)
    assert "print.jpg is in CMYK" in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_equal_images_in_two_splits_are_counted(tmp_path):
    for split in SPLITS:
        write_classes(tmp_path / "photos" / split, [f"{split} {i}" for i in range(2)])
    copied = tmp_path / "photos" / "train" / "train 0" / "train 0_1.png"
    shutil.copy(copied, tmp_path / "photos" / "test" / "test 1" / "copy.png")
    splits = prepared(tmp_path / "photos", tmp_path / "data")
    assert [split.manifest["duplicates_across_splits"] for split in splits] == [{"test/train": 1}] * 3


def test_processes_give_the_same_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "FEW", 0)
    monkeypatch.setattr(packing, "BLOCK", 4)
    photos = write_classes(tmp_path / "photos", names(6), images=5)
    one = prepared(photos, tmp_path / "one")
    two = prepared(photos, tmp_path / "two", Options(size=12, workers=2))
    assert all((a.images == b.images).all() and a.names == b.names for a, b in zip(one, two, strict=True))


class Deadly(type(Path())):
    """A file whose reader crashes, as a decoder with a flaw might."""

    def __fspath__(self):
        os.abort()


def test_a_file_that_crashes_its_decoder_is_named(tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file in files:
        picture(0).save(file)
    jobs = [[files[0]], [files[1], Deadly(files[2])], files[3:]]
    decoders = packing.Decoders(2)
    with pytest.raises(UserError, match=r"2\.png makes its decoder crash; remove the image, or get it again"):
        list(decoders.run(jobs, packing.FEW, Decoding(12)))
    decoders.close()


@pytest.fixture
def mounted(tmp_path):
    """Mount a small tmpfs; root may write anywhere, so permissions would prove nothing."""
    folder = tmp_path / "mount"
    folder.mkdir()

    def mount(options):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"mounting a tmpfs is refused here: {done.stderr.decode().strip()}")
        return folder

    try:
        yield mount
    finally:
        subprocess.run(["umount", folder], capture_output=True, check=False)


@pytest.fixture
def photos(tmp_path):
    return write_classes(tmp_path / "photos", names(6), images=20)


def test_a_full_disk_leaves_what_was_there(mounted, photos):
    root = mounted("size=512k")
    photo_set = source(f"folder:{photos}")
    prepare(root, photo_set, Options(size=12, workers=1))
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room"):
        prepare(root, photo_set, Options(size=84, workers=1))
    assert [path.name for path in (root / photo_set.dataset.name).iterdir()] == ["12px"]
    check_prepared(root, photo_set.dataset, 12)


def test_a_read_only_root(mounted, photos):
    root = mounted("size=64k,ro")
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)"):
        prepare(root, source(f"folder:{photos}"), Options(size=12))


@pytest.mark.parametrize("size", ["20k", "48k"])  # full of the copied source, full of the first split
def test_a_disk_that_features_fill(mounted, tmp_path, size, monkeypatch):
    monkeypatch.setattr(lowshot, "TRAINING_IMAGES", 12 * 60)
    monkeypatch.setattr(lowshot, "PER_CLASS", 4)
    files = write_npz(tmp_path, features(ORDER, 60), features(ORDER, 4))
    root = mounted(f"size={size}")
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room"):
        prepare(root, small_lowshot(), Options(files, class_ids="label_names"))
    assert list(root.iterdir()) == []
