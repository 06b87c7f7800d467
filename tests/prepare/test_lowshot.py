"""Collecting ImageNet low-shot from files of features, in small."""

import numpy as np
import pytest

from core.build.data import open_split
from core.data.class_lists import STORED
from core.errors import UserError
from core.prepare import lowshot
from core.prepare.collect import Options
from core.prepare.prepare import check_prepared, prepare
from core.prepare.sources import source
from tests.prepare.fake_features import BASE, NOVEL, ORDER, SORTED, features, prepared, small_lowshot, write_npz


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(lowshot, "TRAINING_IMAGES", 12 * 9)
    monkeypatch.setattr(lowshot, "PER_CLASS", 4)


def rows_of(split, name):
    return split.images[split.labels == split.classes.index(name)]


def test_six_splits(tmp_path):
    splits = prepared(tmp_path)
    assert [(s.name, s.features, s.size, len(s.classes), len(s.names)) for s in splits] == [
        (name, 8, 0, classes, classes * (4 if name.endswith("-queries") else 9))
        for name, classes in zip(STORED, (6, 3, 3) * 2, strict=True)
    ]
    assert splits[2].classes == splits[5].classes == NOVEL["test"]
    assert splits[0].images.dtype == np.float32
    assert splits[0].manifest["groups"] == BASE
    assert "mean" not in splits[0].manifest
    assert splits[0].names[:2] == ["n01_00000", "n01_00001"]
    check_prepared(tmp_path / "data", small_lowshot().dataset)
    assert (tmp_path / "data" / "ImageNet-LowShot" / "features" / "test-queries").is_dir()
    assert not list((tmp_path / "data" / "ImageNet-LowShot").glob(".*"))


@pytest.mark.parametrize(("order", "class_ids"), [(SORTED, "sorted"), (ORDER, "label_names")])
def test_both_orders_of_class_ids_give_the_same_classes(tmp_path, order, class_ids):
    """Features are drawn around a centre that belongs to the wnid, so a wrong reading would show."""
    raw = features(order, 9)
    splits = {split.name: split for split in prepared(tmp_path, order, class_ids)}
    for name in ORDER:
        split = next(s for s in splits.values() if name in s.classes)
        expected = raw["all_features"][raw["all_labels"] == order.index(name)]
        assert (rows_of(split, name) == expected).all()


def test_named_classes_need_no_declaration(tmp_path):
    files = write_npz(
        tmp_path / "named",
        features(ORDER, 9) | {"classes": np.array(ORDER)},
        features(SORTED, 4, seed=1) | {"classes": np.array(SORTED)},
    )
    named = prepared(tmp_path / "a", sources=files, class_ids="")
    numbered = prepared(tmp_path / "b", ORDER, "label_names")
    assert (named[1].images == numbered[1].images).all()
    assert rows_of(named[5], "n10").mean(0) == pytest.approx(rows_of(named[2], "n10").mean(0), abs=0.6)
    with pytest.raises(UserError, match="names its classes itself; leave it out"):
        prepared(tmp_path / "c", sources=files, class_ids="sorted")


def test_what_numbers_mean_is_never_guessed(tmp_path):
    with pytest.raises(UserError, match="numbers its classes, and two orders are in use; give --class-ids"):
        prepared(tmp_path, class_ids="")
    assert not (tmp_path / "data").exists()


def test_deviations(tmp_path):
    short = {name: value[:-1] for name, value in features(SORTED, 9).items()}
    with pytest.raises(UserError, match="107 training images instead of 108; get the original"):
        prepared(tmp_path, train=short)
    splits = prepared(tmp_path, train=short, allow_deviation=True)
    assert splits[4].manifest["deviation"] == "107 training images instead of 108"


def test_wrong_sources(tmp_path):
    train, val = write_npz(tmp_path / "files", features(SORTED, 9), features(SORTED, 4))
    for sources, message in (
        ((train,), "0 files of validation images"),
        ((train, train, val), "2 files of training images"),
        ((train, val.rename(val.with_name("other.npz"))), "says neither train nor val"),
    ):
        with pytest.raises(UserError, match=message):
            prepared(tmp_path, sources=sources)
    wide = features(SORTED, 9)["all_features"].repeat(2, 1)
    with pytest.raises(UserError, match=r"16 numbers of float32 an image, and .* 8 of float32"):
        prepared(tmp_path, train={"all_features": wide})
    with pytest.raises(UserError, match=r"--size is 84, but ImageNet-LowShot holds features"):
        prepared(tmp_path, size=84)
    with pytest.raises(UserError, match=r"--class-ids is sorted, but CUB holds images"):
        prepare(tmp_path, source("CUB"), Options(class_ids="sorted"))
    with pytest.raises(UserError, match=r"DATASET.SIZE is 84, but DATASET.NAME ImageNet-LowShot holds features"):
        open_split(tmp_path, "ImageNet-LowShot", "train", 84)
    with pytest.raises(UserError, match=r"not prepared under .*: run `python experiments/prepare_data.py ImageNet-L"):
        open_split(tmp_path, "ImageNet-LowShot", "train")


def test_a_damaged_store_is_noticed(tmp_path):
    prepared(tmp_path)
    file = tmp_path / "data" / "ImageNet-LowShot" / "features" / "val-queries" / "features.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="pixels_sha256 differ"):
        check_prepared(tmp_path / "data", small_lowshot().dataset)


@pytest.mark.parametrize("known", [[], ["n01"], ["n01", "n07"]])
def test_allowed_features_of_other_classes_are_a_sentence(tmp_path, known):
    """A deviation that is allowed may leave a split without a class: nothing is written."""
    names = known + [f"m{number:02d}" for number in range(12 - len(known))]
    files = write_npz(
        tmp_path / "named",
        features(SORTED, 9) | {"classes": np.array(names)},
        features(SORTED, 4, seed=1) | {"classes": np.array(names)},
    )
    with pytest.raises(UserError, match="would hold nothing; give the files of its classes"):
        prepared(tmp_path, sources=files, class_ids="", allow_deviation=True)
    assert not list((tmp_path / "data").rglob("*.npy"))
