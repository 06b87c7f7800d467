"""Folders of one's own, in every kind and layout."""

import json
import shutil

import pytest

from core.data.datasets import dataset
from core.errors import UserError
from core.prepare.collect import Options
from tests.prepare.fake_images import names, picture, write_class, write_classes
from tests.prepare.folders import prepared


def split_classes(splits):
    return {split.name: split.classes for split in splits}


def test_flat_folders_are_split_by_hash_of_name_and_seed(tmp_path):
    photos = write_classes(tmp_path / "my photos", names(25))
    splits = prepared(photos, tmp_path / "data")
    assert [len(split.classes) for split in splits] == [16, 4, 5]
    assert sorted(name for split in splits for name in split.classes) == names(25)
    assert all((split.counts == 3).all() and split.size == 12 for split in splits)
    again = prepared(photos, tmp_path / "again")
    assert split_classes(again) == split_classes(splits)
    other = prepared(photos, tmp_path / "other", Options(size=12, seed=1, workers=1))
    assert split_classes(other) != split_classes(splits)
    assert "seed 1" in other[0].manifest["split_by"]
    assert other[0].manifest["preparation"]["size"] == 12


def test_train_val_and_test_folders_are_the_split(tmp_path):
    for split, first in (("train", 0), ("validation", 3), ("test", 5)):
        write_classes(tmp_path / "photos" / split, names(8)[first : first + 2])
    splits = prepared(tmp_path / "photos", tmp_path / "data")
    assert [split.classes for split in splits] == [names(8)[i : i + 2] for i in (0, 3, 5)]
    write_class(tmp_path / "photos" / "stray")
    with pytest.raises(UserError, match="holds 'stray' beside test and train and val; move it"):
        prepared(tmp_path / "photos", tmp_path / "other")
    shutil.rmtree(tmp_path / "photos" / "stray")
    shutil.rmtree(tmp_path / "photos" / "validation")
    with pytest.raises(UserError, match="none for val"):
        prepared(tmp_path / "photos", tmp_path / "other")


def test_nested_class_folders_are_asked_about(tmp_path):
    photos = write_classes(tmp_path / "photos" / "animals", names(4)).parent
    write_classes(photos / "tools", names(8)[4:])
    with pytest.raises(UserError) as caught:
        prepared(photos, tmp_path / "data")
    assert f"{photos} holds the folder animals, whose images lie in folders of their own" in str(caught.value)
    assert "give --depth 2 where these are classes (animals/" in str(caught.value)
    deep = Options(size=12, workers=1, depth=2)
    splits = prepared(photos, tmp_path / "data", deep)
    nested = [f"animals/{name}" for name in names(4)] + [f"tools/{name}" for name in names(8)[4:]]
    assert sorted(name for split in splits for name in split.classes) == sorted(nested)
    assert split_classes(prepared(photos, tmp_path / "data")) == split_classes(splits)
    with pytest.raises(UserError, match=r"--depth is 1, but .* is prepared with 2; leave --depth out"):
        prepared(photos, tmp_path / "data", Options(size=12, workers=1, depth=1))


def test_json_and_csv_splits(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    lists = {"train": names(6)[:2], "val": names(6)[2:4], "test": names(6)[4:]}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    assert split_classes(prepared(photos, tmp_path / "a", Options((tmp_path / "split.json",), 12, workers=1))) == lists
    rows = [f"{n}_{i}.png,{n},{split}" for split, group in lists.items() for n in group for i in range(3)]
    (tmp_path / "split.csv").write_text("filename,label,split\n" + "\n".join(rows))
    assert split_classes(prepared(photos, tmp_path / "b", Options((tmp_path / "split.csv",), 12, workers=1))) == lists
    (tmp_path / "split.json").write_text(json.dumps(lists | {"test": ["nothing"]}))
    with pytest.raises(UserError, match="names class 'nothing'"):
        prepared(photos, tmp_path / "c", Options((tmp_path / "split.json",), 12))


def test_an_archive_as_a_folder_is_to_be_unpacked(tmp_path):
    (tmp_path / "photos.tar").touch()
    with pytest.raises(UserError, match=r"photos.tar' is a file, but folder:PATH takes a folder of class folders; unp"):
        prepared(tmp_path / "photos.tar", tmp_path / "data")


def test_unusable_folders(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        prepared(tmp_path / "nothing", tmp_path / "data")
    photos = write_classes(tmp_path / "photos", names(5))
    with pytest.raises(UserError, match="holds 5 classes"):
        prepared(photos, tmp_path / "data")
    (photos / "void").mkdir()
    with pytest.raises(UserError, match="void holds no images"):
        prepared(photos, tmp_path / "data")
    write_class(photos / "lonely", 1)
    (photos / "void").rmdir()
    with pytest.raises(UserError, match=r"'lonely' .* single image"):
        prepared(photos, tmp_path / "data")
    with pytest.raises(UserError, match="without a path"):
        dataset("folder:")
    assert not (tmp_path / "data").exists()


def test_images_of_all_kinds_and_sizes_lie_in_one_folder(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    for number, (suffix, mode) in enumerate(
        [("jpg", "RGB"), ("JPEG", "L"), ("webp", "RGBA"), ("gif", "P"), ("png", "LA")]
    ):
        picture(100 + number, 30 + 7 * number, 90 - 11 * number, mode).save(
            photos / names(6)[number] / f"other.{suffix}"
        )
    splits = prepared(photos, tmp_path / "data")
    counts = {name: int(count) for split in splits for name, count in zip(split.classes, split.counts, strict=True)}
    assert [counts[name] for name in names(6)] == [4, 4, 4, 4, 4, 3]
