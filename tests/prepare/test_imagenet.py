"""ImageNet's images in small: class folders, six splits, deviations."""

import shutil
from functools import partial

import numpy as np
import pytest

from core.data.class_lists import STORED
from core.data.datasets import DATASETS, Dataset
from core.data.lowshot import open_group
from core.errors import UserError
from core.prepare import lowshot
from core.prepare.collect import Options
from core.prepare.imagenet import collect_imagenet
from core.prepare.prepare import prepare
from core.prepare.sources import SOURCES, Source
from tests.prepare.fake_features import BASE, NOVEL, ORDER, SMALL
from tests.prepare.fake_images import write_class

SIZE = 12


def small_imagenet(size=SIZE):
    """The source of ImageNet's images on the small lists."""
    named = Dataset("ImageNet", size, SMALL.lists, STORED, features_as="ImageNet-LowShot")
    return Source(named, partial(collect_imagenet, classes=SMALL))


def write_imagenet(folder, train=4, val=2):
    """train/<wnid>/ and val/<wnid>/ as torchvision's ImageFolder has them."""
    for split, count in (("train", train), ("val", val)):
        for name in ORDER:
            write_class(folder / split / name, count, seed=int(name[1:]) * 10 + (split == "val"))
    return folder


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(lowshot, "TRAINING_IMAGES", 12 * 4)
    monkeypatch.setattr(lowshot, "PER_CLASS", 2)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("both", [True, False])
def test_six_splits_are_packed(tmp_path, both):
    folder = write_imagenet(tmp_path / "ILSVRC")
    paths = (folder,) if both else (folder / "val", folder / "train")
    splits = {s.name: s for s in prepare(tmp_path / "data", small_imagenet(), Options(paths, workers=1))}
    assert list(splits) == list(STORED)
    assert splits["train"].classes == splits["train-queries"].classes == sorted(BASE["val"] + BASE["test"])
    assert splits["test"].classes == splits["test-queries"].classes == NOVEL["test"]
    assert {name: set(split.counts.tolist()) for name, split in splits.items()} == {
        name: {2 if name.endswith("-queries") else 4} for name in STORED
    }
    assert splits["val"].images.shape == (12, SIZE, SIZE, 3)
    assert splits["val"].names[:2] == ["n07_0.png", "n07_1.png"]
    assert splits["test"].manifest["words"]["n10"] == "bird n10"
    group = open_group(tmp_path / "data", "ImageNet", "test", SIZE)
    assert group.base.classes == BASE["test"]
    assert np.array_equal(group.base_ids, [3, 4, 5])


@pytest.mark.usefixtures("few")
def test_what_deviates_or_is_no_folder_of_classes_is_refused(tmp_path):
    folder = write_imagenet(tmp_path / "ILSVRC")
    with pytest.raises(UserError, match="give the folders train and val of ILSVRC 2012"):
        prepare(tmp_path / "data", small_imagenet(), Options((folder / "train",)))
    shutil.rmtree(folder / "train" / "n07")
    with pytest.raises(UserError, match="1 of 1000 classes have no training image, such as n07; 44 training images"):
        prepare(tmp_path / "data", small_imagenet(), Options((folder,)))
    shutil.rmtree(folder / "val")
    (folder / "val").mkdir()
    (folder / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    with pytest.raises(UserError, match="the validation images lie in no class folders"):
        prepare(tmp_path / "data", small_imagenet(), Options((folder,)))
    assert not (tmp_path / "data").exists()


def test_the_published_set_has_all_classes():
    assert DATASETS["ImageNet"].native_size == 224
    assert SOURCES["ImageNet"].images() == 1_281_167 + 50_000
    assert {name: len(classes) for name, classes in DATASETS["ImageNet"].classes().items()} == {
        **{"train": 389, "val": 300, "test": 311},
        **{"train-queries": 389, "val-queries": 300, "test-queries": 311},
    }
