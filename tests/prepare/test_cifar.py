import json
import pickle

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.prepare.cifar import SPLIT_FILES, read_cifar_fs, read_fc100
from tests.prepare.fake_cifar import (
    CLASSES,
    LISTS,
    PER_CLASS,
    by_name,
    make_parts,
    write_pickles,
    write_pngs,
    write_tar,
)


@pytest.fixture(scope="module")
def parts():
    return make_parts()


def test_pictures_are_those_of_the_pickles(tmp_path, parts):
    splits = read_cifar_fs(write_pickles(tmp_path, parts), PER_CLASS)
    assert {name: (len(p.classes), len(p.images)) for name, p in splits.items()} == {
        "train": (64, 192),
        "val": (16, 48),
        "test": (20, 60),
    }
    for name, pictures in splits.items():
        assert pictures.classes == LISTS[name]
    expected = {}
    for part in (parts["train"], parts["test"]):
        for row, (name, label) in enumerate(zip(part["filenames"], part["fine_labels"], strict=True)):
            expected[CLASSES[label], name] = part["data"][row]
    found = {key: image for pictures in splits.values() for key, image in by_name(pictures).items()}
    assert found.keys() == expected.keys()
    for key, image in found.items():
        for channel in range(3):
            assert (image[..., channel].ravel() == expected[key][1024 * channel : 1024 * (channel + 1)]).all()


@pytest.mark.parametrize("form", ["tar.gz", "tar.xz", "parent", "protocol 5", "bytes", "flat PNGs", "nested PNGs"])
def test_every_form_gives_the_same_splits(tmp_path, parts, form):
    expected = read_cifar_fs(write_pickles(tmp_path / "reference", parts), PER_CLASS)
    if form.startswith("tar"):
        source = write_tar(tmp_path, parts, form.removeprefix("tar."))
    elif form == "parent":
        source = write_pickles(tmp_path / "here", parts).parent
    elif form == "protocol 5":
        source = write_pickles(tmp_path / "here", parts, protocol=5)
    elif form == "bytes":
        source = write_pickles(tmp_path / "here", {name: as_bytes(part) for name, part in parts.items()})
    else:
        source = write_pngs(tmp_path / "pngs", parts, nested=form == "nested PNGs")
    found = read_cifar_fs(source, PER_CLASS)
    for split, pictures in expected.items():
        one, other = by_name(pictures), by_name(found[split])
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one)


def as_bytes(value):
    """The same dict with bytes for every string, as `encoding="bytes"` and a second dump leave it."""
    if isinstance(value, dict):
        return {as_bytes(key): as_bytes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("train", {"data": np.zeros((200, 3071), np.uint8)}, "3072 values"),
        ("train", {"data": np.zeros((200, 3072), np.float32)}, "uint8"),
        ("train", {"data": None}, "uint8"),
        ("train", {"data": np.zeros((199, 3072), np.uint8)}, "199 images, 200 fine_labels"),
        ("test", {"fine_labels": [100] * 100}, "fine_labels is not a list of numbers from 0 to 99"),
        ("test", {"fine_labels": [0] * 100}, "should hold 3 images of each class but holds 102 of apple"),
        ("test", {"filenames": None}, "filenames"),
        ("test", {"filenames": ["two\nlines"] * 100}, "rename the image"),
        ("meta", {"fine_label_names": None}, "fine_label_names"),
        ("meta", {"fine_label_names": ["apple", *CLASSES[:99]]}, "names one twice"),
        ("meta", {"fine_label_names": ["pomme", *CLASSES[1:]]}, "lacks apple, has 'pomme'"),
        ("meta", {"fine_label_names": CLASSES[:99]}, "fine_labels is not"),
    ],
)
def test_wrong_content_is_named(tmp_path, parts, part, change, message):
    changed = {**parts, part: {**parts[part], **change}}
    with pytest.raises(UserError, match=message) as caught:
        read_cifar_fs(write_pickles(tmp_path, changed), PER_CLASS)
    assert str(caught.value).count("\n") == 0


def test_pickle_of_something_else(tmp_path, parts):
    with pytest.raises(UserError, match="test holds a list, not a dict"):
        read_cifar_fs(write_pickles(tmp_path, {**parts, "test": pickle.dumps([1])}), PER_CLASS)


def test_counts_are_the_real_ones_by_default(tmp_path, parts):
    with pytest.raises(UserError, match="should hold 600 images of each class but holds 3 of apple"):
        read_cifar_fs(write_pickles(tmp_path, parts))


def test_missing_pickle(tmp_path, parts):
    source = write_pickles(tmp_path, {"meta": parts["meta"]})
    with pytest.raises(UserError, match="lacks the file train and test"):
        read_cifar_fs(source, PER_CLASS)


def test_missing_source_and_empty_folder(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_cifar_fs(tmp_path / "nothing", PER_CLASS)
    with pytest.raises(UserError, match="neither CIFAR-100 pickles nor PNGs"):
        read_cifar_fs(tmp_path, PER_CLASS)
    with pytest.raises(UserError, match="cannot be read"):
        read_cifar_fs(tmp_path / ("x" * 300), PER_CLASS)


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "pixels"])
def test_undecodable_png_is_named(tmp_path, parts, damage):
    source = write_pngs(tmp_path, parts)
    victim = sorted((source / "otter").iterdir())[1]
    content = victim.read_bytes()
    broken = {"text": b"no image", "cut": content[:500], "empty": b""}.get(damage)
    victim.write_bytes(content[:60] + bytes(40) + content[100:] if broken is None else broken)
    with pytest.raises(UserError, match=f"{victim.name} does not decode as a PNG"):
        read_cifar_fs(source, PER_CLASS)


def test_png_of_another_size_is_named(tmp_path, parts):
    source = write_pngs(tmp_path, parts)
    victim = next((source / "otter").iterdir())
    Image.new("RGB", (84, 32)).save(victim)
    with pytest.raises(UserError, match=f"{victim.name} is 84x32 pixels instead of 32x32"):
        read_cifar_fs(source, PER_CLASS)


def test_wrong_class_folders(tmp_path, parts):
    source = write_pngs(tmp_path, parts)
    next((source / "otter").iterdir()).unlink()
    with pytest.raises(UserError, match="but holds 2 of otter;"):
        read_cifar_fs(source, PER_CLASS)
    (source / "otter").rename(source / "others")
    with pytest.raises(UserError, match="lacks otter, has 'others'"):
        read_cifar_fs(source, PER_CLASS)


def test_repeated_names_do_not_depend_on_the_order(tmp_path, parts):
    """Every image has one name: the copies of a class are told apart by their pixels."""
    same = {name: dict(part) for name, part in parts.items()}
    for name in ("train", "test"):
        same[name]["filenames"] = ["image.png"] * len(same[name]["filenames"])
    turned = {"meta": same["meta"]}
    for name in ("train", "test"):
        part = same[name]
        turned[name] = {**part, "fine_labels": part["fine_labels"][::-1], "data": part["data"][::-1]}
    one = read_cifar_fs(write_pickles(tmp_path / "one", same), PER_CLASS)["val"]
    other = read_cifar_fs(write_pickles(tmp_path / "other", turned), PER_CLASS)["val"]
    assert set(one.names) == {"image.png", "image.png~2", "image.png~3"}
    first, second = by_name(one), by_name(other)
    assert all((first[key] == second[key]).all() for key in first | second)


def test_class_lists_are_64_16_and_20_without_overlap():
    assert [len(LISTS[split]) for split in ("train", "val", "test")] == [64, 16, 20]
    assert len(set(CLASSES)) == 100


def test_fc100_is_60_20_and_20_classes_with_superclasses_apart(tmp_path, parts):
    splits = read_fc100(write_pickles(tmp_path, parts), PER_CLASS)
    assert [len(splits[name].classes) for name in ("train", "val", "test")] == [60, 20, 20]
    assert sorted(name for p in splits.values() for name in p.classes) == CLASSES
    content = json.loads((SPLIT_FILES / "fc100.json").read_text(encoding="utf-8"))
    coarse = [content[name]["superclasses"] for name in ("train", "val", "test")]
    assert [len(names) for names in coarse] == [12, 4, 4]
    assert len({name for names in coarse for name in names}) == 20
