import json
import os
import shutil
import time

import numpy as np
import pytest
from tests.data.test_preparing import run_script

from core.build.data import open_split
from core.data.datasets import benchmark, is_prepared
from core.data.store import SPLITS
from core.errors import UserError
from core.prepare import packing
from core.prepare.collect import Options
from core.prepare.prepare import check_prepared, prepare
from tests.prepare.fake_images import names, picture, write_class, write_classes

SMALL = Options(size=12, workers=1)


def made(folder, root, options=SMALL):
    return prepare(root, benchmark(f"folder:{folder}"), options)


def split_classes(splits):
    return {split.name: split.classes for split in splits}


def test_flat_folders_are_split_by_hash_of_name_and_seed(tmp_path):
    photos = write_classes(tmp_path / "my photos", names(25))
    splits = made(photos, tmp_path / "data")
    assert [len(split.classes) for split in splits] == [16, 4, 5]
    assert sorted(name for split in splits for name in split.classes) == names(25)
    assert all((split.counts == 3).all() and split.size == 12 for split in splits)
    again = made(photos, tmp_path / "again")
    assert split_classes(again) == split_classes(splits)
    other = made(photos, tmp_path / "other", Options(size=12, seed=1, workers=1))
    assert split_classes(other) != split_classes(splits)
    assert "seed 1" in other[0].manifest["split_by"]
    assert other[0].manifest["preparation"]["size"] == 12


def test_a_yaml_finds_the_folder_again(tmp_path):
    photos = write_classes(tmp_path / "my photos", names(6))
    name = f"folder:{photos}"
    with pytest.raises(UserError, match=r"prepare_data.py folder:.*my photos --size 12`\.$"):
        open_split(tmp_path / "data", name, "test", 12)
    made(photos, tmp_path / "data")
    split = open_split(tmp_path / "data", name, "test", 12)
    assert split.dataset.startswith("folder-my_photos-")


def test_another_seed_is_refused_once_prepared(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    made(photos, tmp_path / "data")
    made(photos, tmp_path / "data")
    with pytest.raises(UserError, match=r"--split-seed is 3, but .* seed 0"):
        made(photos, tmp_path / "data", Options(size=12, seed=3))


def test_train_val_and_test_folders_are_the_split(tmp_path):
    for split, first in (("train", 0), ("validation", 3), ("test", 5)):
        write_classes(tmp_path / "photos" / split, names(8)[first : first + 2])
    splits = made(tmp_path / "photos", tmp_path / "data")
    assert [split.classes for split in splits] == [names(8)[i : i + 2] for i in (0, 3, 5)]
    write_class(tmp_path / "photos" / "stray")
    with pytest.raises(UserError, match="holds 'stray' beside test and train and val; move it"):
        made(tmp_path / "photos", tmp_path / "other")
    shutil.rmtree(tmp_path / "photos" / "stray")
    shutil.rmtree(tmp_path / "photos" / "validation")
    with pytest.raises(UserError, match="none for val"):
        made(tmp_path / "photos", tmp_path / "other")


def test_json_and_csv_splits(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    lists = {"train": names(6)[:2], "val": names(6)[2:4], "test": names(6)[4:]}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    assert split_classes(made(photos, tmp_path / "a", Options((tmp_path / "split.json",), 12, workers=1))) == lists
    rows = [f"{n}_{i}.png,{n},{split}" for split, group in lists.items() for n in group for i in range(3)]
    (tmp_path / "split.csv").write_text("filename,label,split\n" + "\n".join(rows))
    assert split_classes(made(photos, tmp_path / "b", Options((tmp_path / "split.csv",), 12, workers=1))) == lists
    (tmp_path / "split.json").write_text(json.dumps(lists | {"test": ["nothing"]}))
    with pytest.raises(UserError, match="names class 'nothing'"):
        made(photos, tmp_path / "c", Options((tmp_path / "split.json",), 12))


def test_all_bad_images_are_named_at_once_and_nothing_is_written(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    (photos / names(6)[0] / "empty.png").write_bytes(b"")
    picture(0, mode="CMYK").save(photos / names(6)[5] / "print.jpg")
    with pytest.raises(UserError) as caught:
        made(photos, tmp_path / "data")
    assert "2 images cannot be used" in str(caught.value)
    assert "empty.png is empty" in str(caught.value)
    assert "print.jpg is in CMYK" in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_unusable_folders(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        made(tmp_path / "nothing", tmp_path / "data")
    photos = write_classes(tmp_path / "photos", names(5))
    with pytest.raises(UserError, match="holds 5 classes"):
        made(photos, tmp_path / "data")
    (photos / "void").mkdir()
    with pytest.raises(UserError, match="void holds no images"):
        made(photos, tmp_path / "data")
    write_class(photos / "lonely", 1)
    (photos / "void").rmdir()
    with pytest.raises(UserError, match=r"'lonely' .* single image"):
        made(photos, tmp_path / "data")
    with pytest.raises(UserError, match="without a path"):
        benchmark("folder:")
    assert not (tmp_path / "data").exists()


def test_equal_images_in_two_splits_are_counted(tmp_path):
    for split in SPLITS:
        write_classes(tmp_path / "photos" / split, [f"{split} {i}" for i in range(2)])
    copied = tmp_path / "photos" / "train" / "train 0" / "train 0_1.png"
    shutil.copy(copied, tmp_path / "photos" / "test" / "test 1" / "copy.png")
    splits = made(tmp_path / "photos", tmp_path / "data")
    assert [split.manifest["duplicates_across_splits"] for split in splits] == [{"test/train": 1}] * 3


def test_processes_give_the_same_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "FEW", 0)
    monkeypatch.setattr(packing, "BLOCK", 4)
    photos = write_classes(tmp_path / "photos", names(6), images=5)
    one = made(photos, tmp_path / "one")
    two = made(photos, tmp_path / "two", Options(size=12, workers=2))
    assert all((a.images == b.images).all() and a.names == b.names for a, b in zip(one, two, strict=True))


def test_check_finds_what_changed(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    found = benchmark(f"folder:{photos}")
    with pytest.raises(UserError, match="is not prepared"):
        check_prepared(tmp_path / "data", found, 12)
    splits = made(photos, tmp_path / "data")
    check_prepared(tmp_path / "data", found, 12)
    folder = tmp_path / "data" / splits[0].dataset / "12px" / "val"
    images = np.load(folder / "images.npy", mmap_mode="r+")
    images[0, 0, 0, 0] ^= 1
    images.flush()
    with pytest.raises(UserError, match="pixels_sha256 differ"):
        check_prepared(tmp_path / "data", found, 12)


def test_what_a_killed_run_left_is_removed(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    splits = made(photos, tmp_path / "data")
    sizes = tmp_path / "data" / splits[0].dataset / "12px"
    shutil.rmtree(sizes / "val")
    old, young = sizes / ".val-killed", sizes / ".val-starting"
    old.mkdir()
    young.mkdir()
    os.utime(old, (time.time() - 3600,) * 2)
    assert not is_prepared(tmp_path / "data", benchmark(f"folder:{photos}"), 12)
    made(photos, tmp_path / "data")
    assert sorted(path.name for path in sizes.iterdir()) == [".val-starting", "test", "train", "val"]


def test_splits_of_two_kinds_are_not_mixed(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    splits = made(photos, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / splits[0].dataset / "12px" / "val")
    with pytest.raises(UserError, match="prepared in another way"):
        made(photos, tmp_path / "data", Options(size=12, seed=5, workers=1))


def test_script_prepares_checks_and_lists(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    asked = (f"folder:{photos}", "--root", tmp_path / "data", "--size", "12")
    first, second, check = (run_script(*asked, *more, cwd=tmp_path) for more in ((), (), ("--check",)))
    assert [run.returncode for run in (first, second, check)] == [0, 0, 0], first.stderr + second.stderr + check.stderr
    assert "images/s" in first.stdout
    assert "nothing was read or written" in second.stdout
    assert "is as it was written" in check.stdout
    assert "folder-photos-" in run_script("--list", "--root", tmp_path / "data", cwd=tmp_path).stdout


def test_images_of_all_kinds_and_sizes_lie_in_one_folder(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    for number, (suffix, mode) in enumerate(
        [("jpg", "RGB"), ("JPEG", "L"), ("webp", "RGBA"), ("gif", "P"), ("png", "LA")]
    ):
        picture(100 + number, 30 + 7 * number, 90 - 11 * number, mode).save(
            photos / names(6)[number] / f"other.{suffix}"
        )
    splits = made(photos, tmp_path / "data")
    counts = {name: int(count) for split in splits for name, count in zip(split.classes, split.counts, strict=True)}
    assert [counts[name] for name in names(6)] == [4, 4, 4, 4, 4, 3]
