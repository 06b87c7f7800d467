"""The pickles in circulation: miniImageNet, tieredImageNet; names or numbers for classes."""

import pickle

import numpy as np
import pytest
from PIL import Image

from core.data.store import SPLITS
from core.errors import UserError
from core.prepare import catalogue
from tests.prepare.fake_benchmarks import LISTS, WORDS, as_published, mini_pickles, prepared, tiered_pickles
from tests.prepare.fake_images import write_classes
from tests.prepare.malicious import Malicious


def test_mini_from_pickles(tmp_path):
    source = mini_pickles(tmp_path / "pickles")
    splits = prepared(tmp_path / "data", source)
    assert as_published(splits)
    original = pickle.loads((source / "mini-imagenet-cache-test.pkl").read_bytes())
    assert (splits[2].images == original["image_data"]).all()
    assert not [path for path in (tmp_path / "data" / "Mini").iterdir() if path.name.startswith(".")]
    (source / "mini-imagenet-cache-test.pkl").unlink()
    with pytest.raises(UserError, match=r"lacks mini-imagenet-cache-test\.pkl"):
        prepared(tmp_path / "other", source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_data": np.zeros((9, 8, 8, 3))}, "holds no image_data"),
        ({"image_data": np.zeros((9, 84, 84, 3), np.uint8)}, "84x84 px; give --size 84"),
        ({"class_dict": {"n01": [0, 1, 99]}}, "no class_dict of rows"),
        ({"class_dict": {"n01": [0, 1, 1]}}, "an image to two classes"),
        ({"class_dict": Malicious(eval, "1")}, "is refused: it asks for __builtin__.eval"),
    ],
)
def test_wrong_mini_pickles_are_explained(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        prepared(tmp_path / "data", mini_pickles(tmp_path / "pickles", **change))
    assert not (tmp_path / "data").exists()


def test_tiered_from_pickles_has_the_pixels_of_the_folders(tmp_path, flat):
    splits = prepared(tmp_path / "data", tiered_pickles(tmp_path / "pickles", flat), catalogue.tiered)
    assert as_published(splits)
    folders = prepared(tmp_path / "folders", flat, catalogue.tiered)
    assert all((a.images == b.images).all() for a, b in zip(splits, folders, strict=True))


def mini(folder, **change):
    folder.mkdir()
    for split, part in (("train", "train_phase_train"), ("val", "val"), ("test", "test")):
        labels = np.tile(np.arange(len(LISTS[split])) + 64, 3)
        names = dict(zip(reversed(LISTS[split]), (np.arange(len(LISTS[split])) + 64).tolist(), strict=True))
        data = np.random.default_rng(len(split)).integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
        content = {"data": data, "labels": labels.tolist(), "catname2label": names} | change
        (folder / f"miniImageNet_category_split_{part}.pickle").write_bytes(pickle.dumps(content, 2))
    (folder / "miniImageNet_category_split_train_phase_val.pickle").write_bytes(b"not read")
    return folder


def test_mini_of_gidaris_and_metaoptnet(tmp_path):
    folder = mini(tmp_path / "mini")
    splits = prepared(tmp_path / "data", folder)
    assert as_published(splits)
    content = pickle.loads((folder / "miniImageNet_category_split_train_phase_train.pickle").read_bytes())
    of_first = np.array(content["labels"]) == content["catname2label"]["n01"]
    assert (splits[0].images[:3] == content["data"][of_first]).all()


def test_mini_without_names_is_refused(tmp_path):
    with pytest.raises(UserError, match="numbers its classes and has no catname2label"):
        prepared(tmp_path / "data", mini(tmp_path / "mini", catname2label=None))


def tiered(folder, flat, names=True):
    tiered_pickles(folder, flat)
    for split in SPLITS:
        paths = [path for name in LISTS[split] for path in sorted((flat / name).iterdir())]
        (folder / f"{split}_images_png.pkl").unlink()
        np.savez(folder / f"{split}_images.npz", images=np.stack([np.asarray(Image.open(path)) for path in paths]))
        if not names:
            labels = {"labels": np.arange(len(LISTS[split])).repeat(3).tolist()}
            (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, 2))
    return folder


def test_tiered_of_metaoptnet(tmp_path, small):
    splits = prepared(tmp_path / "data", tiered(tmp_path / "tiered", small), catalogue.tiered)
    folders = prepared(tmp_path / "folders", small, catalogue.tiered)
    assert as_published(splits)
    assert all((a.images == b.images).all() for a, b in zip(splits, folders, strict=True))
    with pytest.raises(UserError, match="images of 8x8 px; give --size 8"):
        prepared(tmp_path / "other", tmp_path / "tiered", catalogue.tiered, size=16)


def test_tiered_without_names_is_refused(tmp_path, small):
    with pytest.raises(UserError, match="label_specific_str, which names the classes that it numbers"):
        prepared(tmp_path / "data", tiered(tmp_path / "tiered", small, names=False), catalogue.tiered)


def test_a_damaged_array(tmp_path, small):
    folder = tiered(tmp_path / "tiered", small)
    file = folder / "val_images.npz"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match=r"val_images\.npz holds no images \[N, H, W, 3\] of uint8"):
        prepared(tmp_path / "data", folder, catalogue.tiered)
    assert not (tmp_path / "data").exists()


@pytest.fixture
def small(tmp_path):
    """Class folders of images of 8 px."""
    folder = write_classes(tmp_path / "small", WORDS)
    for path in folder.glob("*/*"):
        Image.open(path).resize((8, 8)).save(path)
    return folder
