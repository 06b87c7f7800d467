"""Pickles whose classes are the numbers of CIFAR-100's."""

import pickle
from itertools import chain

import numpy as np
import pytest

from core.data.class_lists import class_lists
from core.data.store import SPLITS
from core.errors import UserError
from tests.prepare.fake_cifar import CLASSES, LISTS, PER_CLASS


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


@pytest.mark.parametrize(("stem", "name"), [("CIFAR_FS", "CIFAR-FS"), ("FC100", "FC100")])
def test_numbers_of_cifar_100_name_the_classes(tmp_path, read_cifar, stem, name):
    lists = class_lists(stem.lower())
    splits = read_cifar(write_numbered(tmp_path / "pickles", stem, lists), name)
    for split in SPLITS:
        assert splits[split].classes == sorted(lists[split])
        assert splits[split].names[:3] == [f"{splits[split].classes[0]}_{n:04d}.png" for n in range(3)]
        ways = len(lists[split])
        for place, name in enumerate(splits[split].classes):
            rows = splits[split].images[splits[split].labels == place][:, 0, 0, 0]
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
def test_numbers_are_never_guessed(tmp_path, read_cifar, change, message):
    with pytest.raises(UserError, match=message):
        read_cifar(write_numbered(tmp_path, "CIFAR_FS", LISTS, **change))


def test_missing_parts_and_images(tmp_path, read_cifar):
    folder = write_numbered(tmp_path, "CIFAR_FS", LISTS)
    with pytest.raises(UserError, match=r"3 images of .* instead of 4, and 99 other classes differ"):
        read_cifar(folder, per_class=4)
    (folder / "CIFAR_FS_val.pickle").unlink()
    with pytest.raises(UserError, match=r"lacks CIFAR_FS_val\.pickle; give the folder of all three"):
        read_cifar(folder)
