"""The published class lists."""

import pytest

from core.data.class_lists import STORED, class_lists, english_names, lowshot_classes, split_file
from core.data.datasets import DATASETS
from core.data.store import SPLITS


def test_superclasses_of_fc100_are_apart():
    content = split_file("fc100")
    coarse = [content[name]["superclasses"] for name in ("train", "val", "test")]
    assert [len(names) for names in coarse] == [12, 4, 4]
    assert len({name for names in coarse for name in names}) == 20


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("CIFAR-FS", [64, 16, 20]),
        ("miniImagenet", [64, 16, 20]),
        ("tieredImagenet", [351, 97, 160]),
        ("CUB", [100, 50, 50]),
        ("CUB-FEAT", [100, 50, 50]),
        ("FC100", [60, 20, 20]),
        ("Omniglot", [1028, 172, 423]),
    ],
)
def test_classes_of_each_split(name, classes):
    lists = DATASETS[name].classes()
    assert [len(lists[split]) for split in SPLITS] == classes
    assert len({name for split in SPLITS for name in lists[split]}) == sum(classes)


def test_wnids_have_english_names():
    assert english_names("miniimagenet").keys() >= set(class_lists("miniimagenet")["train"])


def test_the_published_lists():
    lists = DATASETS["ImageNet-LowShot"].classes()
    assert [len(lists[split]) for split in STORED] == [389, 300, 311] * 2
    assert [len(lowshot_classes().base[group]) for group in ("val", "test")] == [193, 196]
    assert len({name for split in STORED[:3] for name in lists[split]}) == 1000
    assert lists["train"] == sorted(lists["train"])
    assert lowshot_classes().label_names[:2] == ["n01807496", "n02916936"]


def test_ids_read_as_sorted_wnids_are_other_classes():
    right, sorted_ids = lowshot_classes(), lowshot_classes(by_sorted_wnid=True)
    assert sorted_ids.base["test"] != right.base["test"]
    order, places = right.label_names, {name: i for i, name in enumerate(sorted(right.label_names))}
    ids = sorted(order.index(name) for name in right.novel["test"])
    assert sorted(places[name] for name in sorted_ids.novel["test"]) == ids
    common = {
        "base": len(set(right.lists()["train"]) & set(sorted_ids.lists()["train"])),
        "base 2": len(set(right.base["test"]) & set(sorted_ids.base["test"])),
        "novel 2": len(set(right.novel["test"]) & set(sorted_ids.novel["test"])),
    }
    assert common == {"base": 150, "base 2": 37, "novel 2": 98}
