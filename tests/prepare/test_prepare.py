import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from core.build.data import open_split
from core.data.datasets import dataset, is_prepared, split_folders
from core.data.store import SPLITS
from core.errors import UserError
from core.prepare import glyphs
from core.prepare.collect import Options
from core.prepare.glyph_fonts import alphabets
from core.prepare.prepare import check_prepared, prepare
from core.prepare.sources import SOURCES, source
from tests.prepare.fake_cifar import PER_CLASS, small_cifar, write_pickles, write_pngs, write_tar
from tests.prepare.fake_images import names, write_classes
from tests.prepare.folders import prepared
from tests.terminal import Terminal

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def small():
    """CIFAR-FS with three images a class."""
    return small_cifar()


def test_prepare_writes_three_splits_once(tmp_path, parts, small):
    pickles = write_pickles(tmp_path, parts)
    splits = list(prepare(tmp_path / "data", small, Options((pickles,))))
    assert [(s.name, len(s.classes), len(s.names), s.size) for s in splits] == [
        ("train", 64, 192, 32),
        ("val", 16, 48, 32),
        ("test", 20, 60, 32),
    ]
    assert all((s.counts == PER_CLASS).all() for s in splits)
    shutil.rmtree(pickles)  # a second call needs no source
    again = list(prepare(tmp_path / "data", small, Options((pickles,))))
    assert [s.fingerprint for s in again] == [s.fingerprint for s in splits]


def test_each_step_of_an_archive_has_its_bar(tmp_path, parts, small, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    prepare(tmp_path / "data", small, Options((write_tar(tmp_path, parts, "gz"),)))
    shown = sys.stderr.getvalue()
    steps = [shown.index(f"{step}: ") for step in ("hashing", "unpacking", "reading", "CIFAR-FS")]
    assert steps == sorted(steps)


def test_prepare_finishes_what_was_interrupted(tmp_path, parts, small):
    pickles = write_pickles(tmp_path, parts)
    prepare(tmp_path / "data", small, Options((pickles,)))
    train, val, test = split_folders(tmp_path / "data", small.dataset)
    shutil.rmtree(val)
    shutil.rmtree(test)
    before = (train / "images.npy").stat().st_mtime_ns
    assert not is_prepared(tmp_path / "data", small.dataset)
    assert len(list(prepare(tmp_path / "data", small, Options((pickles,))))) == 3
    assert (train / "images.npy").stat().st_mtime_ns == before


def test_another_size(tmp_path, parts, small):
    pickles = write_pickles(tmp_path, parts)
    native = prepare(tmp_path / "data", small, Options((pickles,)))
    large = prepare(tmp_path / "data", small, Options((pickles,), size=64))
    assert [split.images.shape[1:] for split in large] == [(64, 64, 3)] * 3
    assert [split.fingerprint for split in large] == [split.fingerprint for split in native]
    assert large[0].manifest["preparation"]["filter"].startswith("bicubic")


def test_failed_prepare_writes_nothing(tmp_path, parts, small):
    pickles = write_pngs(tmp_path / "pngs", parts)
    next((pickles / "worm").iterdir()).write_bytes(b"")
    with pytest.raises(UserError):
        list(prepare(tmp_path / "data", small, Options((pickles,))))
    assert not (tmp_path / "data").exists()


def test_source_is_asked_for_or_refused(tmp_path, small):
    with pytest.raises(UserError, match="--from is missing"):
        list(prepare(tmp_path, small, Options()))
    with pytest.raises(UserError, match="Glyphs is rendered from nothing; leave --from out"):
        list(prepare(tmp_path, source("glyphs"), Options((tmp_path,))))


@pytest.mark.slow
def test_real_archive(tmp_path):
    archive = SHARED / "cifar-100-python.tar.xz"
    if not archive.is_file():
        pytest.skip(f"needs {archive}")
    splits = list(prepare(tmp_path, SOURCES["CIFAR-FS"], Options((archive,))))
    assert [len(split.classes) for split in splits] == [64, 16, 20]
    for split in splits:
        assert split.images.shape == (600 * len(split.classes), 32, 32, 3)
        assert (split.counts == 600).all()
    mean = np.average([s.manifest["mean"] for s in splits], axis=0, weights=[64, 16, 20])
    assert np.allclose(mean, [0.5071, 0.4866, 0.4409], atol=1e-3)  # as published for the training images


def test_a_yaml_finds_the_folder_again(tmp_path):
    photos = write_classes(tmp_path / "my photos", names(6))
    name = f"folder:{photos}"
    with pytest.raises(UserError, match=r"prepare_data.py folder:.*my photos --size 12 --root .*data`\.$"):
        open_split(tmp_path / "data", name, "test", 12)
    prepared(photos, tmp_path / "data")
    split = open_split(tmp_path / "data", name, "test", 12)
    assert split.dataset.startswith("folder-my_photos-")


def test_another_seed_is_refused_once_prepared(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    prepared(photos, tmp_path / "data")
    prepared(photos, tmp_path / "data")
    with pytest.raises(UserError, match=r"--split-seed is 3, but .* seed 0"):
        prepared(photos, tmp_path / "data", Options(size=12, seed=3))


def test_another_class_split_is_refused_once_prepared(tmp_path):
    photos, split = write_classes(tmp_path / "photos", names(6)), tmp_path / "split.json"
    options = Options(size=12, workers=1, sources=(split,))
    prepared(photos, tmp_path / "by_hash")
    first, second, third = names(6)[:2], names(6)[2:4], names(6)[4:]
    split.write_text(json.dumps({"train": first, "val": second, "test": third}))
    with pytest.raises(
        UserError, match=r"--from is '.*split.json', but the classes of .* are prepared by order of the"
    ):
        prepared(photos, tmp_path / "by_hash", options)
    for _ in range(2):
        assert prepared(photos, tmp_path / "by_list", options)[0].classes == first
    split.write_text(json.dumps({"train": second, "val": first, "test": third}))
    with pytest.raises(UserError, match=r"by class lists of split.json, and not by this file as it is now; leave"):
        prepared(photos, tmp_path / "by_list", options)
    split.unlink()
    with pytest.raises(UserError, match=r"split.json', which does not exist; check the path"):
        prepared(photos, tmp_path / "by_list", options)


def test_check_finds_what_changed(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    photo_set = dataset(f"folder:{photos}")
    with pytest.raises(UserError, match="is not prepared"):
        check_prepared(tmp_path / "data", photo_set, 12)
    splits = prepared(photos, tmp_path / "data")
    check_prepared(tmp_path / "data", photo_set, 12)
    folder = tmp_path / "data" / splits[0].dataset / "12px" / "val"
    images = np.load(folder / "images.npy", mmap_mode="r+")
    images[0, 0, 0, 0] ^= 1
    images.flush()
    with pytest.raises(UserError, match="pixels_sha256 differ"):
        check_prepared(tmp_path / "data", photo_set, 12)


def test_what_a_killed_run_left_is_removed(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    splits = prepared(photos, tmp_path / "data")
    sizes = tmp_path / "data" / splits[0].dataset / "12px"
    shutil.rmtree(sizes / "val")
    old, young = sizes / ".val-killed", sizes / ".val-starting"
    old.mkdir()
    young.mkdir()
    os.utime(old, (time.time() - 3600,) * 2)
    assert not is_prepared(tmp_path / "data", dataset(f"folder:{photos}"), 12)
    prepared(photos, tmp_path / "data")
    assert sorted(path.name for path in sizes.iterdir()) == [".val-starting", "test", "train", "val"]


def test_splits_of_two_kinds_are_not_mixed(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    splits = prepared(photos, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / splits[0].dataset / "12px" / "val")
    with pytest.raises(UserError, match="prepared in another way"):
        prepared(photos, tmp_path / "data", Options(size=12, seed=5, workers=1))


def test_glyphs_are_drawn_and_checked_whatever_letters_the_fonts_held(tmp_path, monkeypatch):
    few = {split: chars[:2] for split, chars in alphabets().items()}
    monkeypatch.setattr(glyphs, "alphabets", lambda: few)
    splits = prepare(tmp_path, source("Glyphs"), Options(size=16))
    assert [split.classes for split in splits] == [sorted(glyphs.class_names()[split]) for split in SPLITS]
    monkeypatch.undo()
    check_prepared(tmp_path, source("Glyphs").dataset, 16)
