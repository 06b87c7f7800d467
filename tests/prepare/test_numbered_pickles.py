"""Layouts whose classes are numbered (MetaOptNet); and CIFAR-FS as LibFewShot and DeepEMD have it."""

import pickle
import shutil
from itertools import chain

import numpy as np
import pytest
from PIL import Image
from tests.data.test_catalogue import LISTS as WNIDS
from tests.data.test_catalogue import WORDS, as_published, prepared, tiered_pickles

from core.data.store import SPLITS
from core.errors import UserError
from core.prepare import catalogue
from core.prepare.cifar import class_lists, read_cifar_fs, read_fc100
from tests.prepare.fake_cifar import CLASSES, LISTS, PER_CLASS, by_name, make_parts, write_pngs
from tests.prepare.fake_images import write_classes


def write_numbered(folder, stem, lists, number=CLASSES.index, **change):
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        labels = [number(name) for name in lists[split]] * PER_CLASS
        data = (
            np.zeros((len(labels), 32, 32, 3), np.uint8) + np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
        )
        content = {"data": data, "labels": labels} | change
        (folder / f"{stem}_{split}.pickle").write_bytes(pickle.dumps(content, 2))
    return folder


@pytest.mark.parametrize(("stem", "read"), [("CIFAR_FS", read_cifar_fs), ("FC100", read_fc100)])
def test_numbers_of_cifar_100_name_the_classes(tmp_path, stem, read):
    lists = class_lists(stem.lower())
    found = read(write_numbered(tmp_path, stem, lists), PER_CLASS)
    for split in SPLITS:
        assert found[split].classes == sorted(lists[split])
        assert found[split].names[:3] == [f"{found[split].classes[0]}_{n:04d}.png" for n in range(3)]
        ways = len(lists[split])
        for place, name in enumerate(found[split].classes):
            rows = found[split].images[found[split].labels == place][:, 0, 0, 0]
            assert rows.tolist() == [lists[split].index(name) + ways * n for n in range(PER_CLASS)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"number": lambda name: list(chain(*LISTS.values())).index(name)},
            "numbers its classes 0 to 63, which are not the",
        ),
        ({"labels": [0]}, r"holds no data \[N, H, W, 3\] of uint8 with labels"),
        ({"data": np.zeros(3)}, "holds no data"),
        ({"labels": None}, "holds no data"),
    ],
)
def test_numbers_are_never_guessed(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_cifar_fs(write_numbered(tmp_path, "CIFAR_FS", LISTS, **change), PER_CLASS)


def test_missing_parts_and_images(tmp_path):
    folder = write_numbered(tmp_path, "CIFAR_FS", LISTS)
    with pytest.raises(UserError, match=r"holds 3 images of .* instead of 4"):
        read_cifar_fs(folder, 4)
    (folder / "CIFAR_FS_val.pickle").unlink()
    with pytest.raises(UserError, match=r"lacks CIFAR_FS_val\.pickle; give the folder of all three"):
        read_cifar_fs(folder, PER_CLASS)


def test_cifar_in_folders_of_deepemd_and_lists_of_libfewshot(tmp_path):
    flat = write_pngs(tmp_path / "flat", make_parts())
    expected = {split: by_name(found) for split, found in read_cifar_fs(flat, PER_CLASS).items()}
    (tmp_path / "lists" / "images").mkdir(parents=True)
    for split in SPLITS:
        lines = ["filename,label"]
        for name in LISTS[split]:
            shutil.copytree(flat / name, tmp_path / "deepemd" / f"meta-{split}" / name)
            lines += [f"{path.name},{name}" for path in (flat / name).iterdir()]
            shutil.copytree(flat / name, tmp_path / "lists" / "images", dirs_exist_ok=True)
        (tmp_path / "lists" / f"{split}.csv").write_text("\n".join(lines))
    for layout in ("deepemd", "lists"):
        found = {split: by_name(part) for split, part in read_cifar_fs(tmp_path / layout, PER_CLASS).items()}
        for split in SPLITS:
            assert found[split].keys() == expected[split].keys()
            assert all((found[split][key] == image).all() for key, image in expected[split].items())


def mini(folder, **change):
    folder.mkdir()
    for split, part in (("train", "train_phase_train"), ("val", "val"), ("test", "test")):
        labels = np.tile(np.arange(len(WNIDS[split])) + 64, 3)
        names = dict(zip(reversed(WNIDS[split]), (np.arange(len(WNIDS[split])) + 64).tolist(), strict=True))
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
        paths = [path for name in WNIDS[split] for path in sorted((flat / name).iterdir())]
        (folder / f"{split}_images_png.pkl").unlink()
        np.savez(folder / f"{split}_images.npz", images=np.stack([np.asarray(Image.open(path)) for path in paths]))
        if not names:
            labels = {"labels": np.arange(len(WNIDS[split])).repeat(3).tolist()}
            (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, 2))
    return folder


@pytest.fixture
def flat(tmp_path):
    """Class folders of images of 8 px."""
    flat = write_classes(tmp_path / "flat", WORDS)
    for path in flat.glob("*/*"):
        Image.open(path).resize((8, 8)).save(path)
    return flat


def test_tiered_of_metaoptnet(tmp_path, flat):
    splits = prepared(tmp_path / "data", tiered(tmp_path / "tiered", flat), catalogue.tiered)
    folders = prepared(tmp_path / "folders", flat, catalogue.tiered)
    assert as_published(splits)
    assert all((a.images == b.images).all() for a, b in zip(splits, folders, strict=True))
    with pytest.raises(UserError, match="images of 8x8 px; give --size 8"):
        prepared(tmp_path / "other", tmp_path / "tiered", catalogue.tiered, size=16)


def test_tiered_without_names_is_refused(tmp_path, flat):
    with pytest.raises(UserError, match="label_specific_str, which names the classes that it numbers"):
        prepared(tmp_path / "data", tiered(tmp_path / "tiered", flat, names=False), catalogue.tiered)


def test_a_damaged_array(tmp_path, flat):
    folder = tiered(tmp_path / "tiered", flat)
    file = folder / "val_images.npz"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match=r"val_images\.npz holds no images \[N, H, W, 3\] of uint8"):
        prepared(tmp_path / "data", folder, catalogue.tiered)
    assert not (tmp_path / "data").exists()
