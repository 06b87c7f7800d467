import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from core.data.store import SPLITS
from core.errors import UserError
from tests.prepare.fake_cifar import CLASSES, LISTS, by_name, make_parts, write_pickles, write_pngs, write_tar


def test_pictures_are_those_of_the_pickles(tmp_path, parts, read_cifar):
    splits = read_cifar(write_pickles(tmp_path, parts))
    assert {name: (len(p.classes), len(p.images)) for name, p in splits.items()} == {
        "train": (64, 192),
        "val": (16, 48),
        "test": (20, 60),
    }
    for name, pictures in splits.items():
        assert pictures.classes == sorted(LISTS[name])
    expected = {}
    for part in (parts["train"], parts["test"]):
        for row, (name, label) in enumerate(zip(part["filenames"], part["fine_labels"], strict=True)):
            expected[CLASSES[label], name] = part["data"][row]
    images = {key: image for pictures in splits.values() for key, image in by_name(pictures).items()}
    assert images.keys() == expected.keys()
    for key, image in images.items():
        for channel in range(3):
            assert (image[..., channel].ravel() == expected[key][1024 * channel : 1024 * (channel + 1)]).all()


@pytest.mark.parametrize("form", ["tar.gz", "tar.xz", "parent", "protocol 5", "bytes", "flat PNGs", "nested PNGs"])
def test_every_form_gives_the_same_splits(tmp_path, parts, read_cifar, form):
    expected = read_cifar(write_pickles(tmp_path / "reference", parts))
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
    splits = read_cifar(source)
    for split, pictures in expected.items():
        one, other = by_name(pictures), by_name(splits[split])
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
        ("test", {"fine_labels": [0] * 100}, "2 images of .* instead of 3, and 99 other classes differ"),
        ("test", {"filenames": None}, "filenames"),
        ("test", {"filenames": ["two\nlines"] * 100}, "rename the image"),
        ("meta", {"fine_label_names": None}, "fine_label_names"),
        ("meta", {"fine_label_names": ["apple", *CLASSES[:99]]}, "names one twice"),
        ("meta", {"fine_label_names": ["pomme", *CLASSES[1:]]}, "1 of 100 classes are missing, such as apple"),
        ("meta", {"fine_label_names": CLASSES[:99]}, "fine_labels is not"),
    ],
)
def test_wrong_content_is_named(tmp_path, parts, read_cifar, part, change, message):
    changed = {**parts, part: {**parts[part], **change}}
    with pytest.raises(UserError, match=message) as caught:
        read_cifar(write_pickles(tmp_path, changed))
    assert str(caught.value).count("\n") == 0


def test_pickle_of_something_else(tmp_path, parts, read_cifar):
    with pytest.raises(UserError, match="test holds a list, not a dict"):
        read_cifar(write_pickles(tmp_path, {**parts, "test": pickle.dumps([1])}))


def test_counts_are_the_real_ones_by_default(tmp_path, parts, read_cifar):
    with pytest.raises(UserError, match=r"3 images of .* instead of 600, and 99 other classes differ"):
        read_cifar(write_pickles(tmp_path, parts), per_class=600)


def test_missing_pickle(tmp_path, parts, read_cifar):
    source = write_pickles(tmp_path, {"meta": parts["meta"]})
    with pytest.raises(UserError, match="lacks the file train and test"):
        read_cifar(source)


def test_missing_source_and_empty_folder(tmp_path, read_cifar):
    with pytest.raises(UserError, match="does not exist"):
        read_cifar(tmp_path / "nothing")
    with pytest.raises(UserError, match="neither CIFAR-100 pickles nor PNGs"):
        read_cifar(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        read_cifar(tmp_path / ("x" * 300))


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "pixels"])
def test_undecodable_png_is_named(tmp_path, parts, read_cifar, damage):
    source = write_pngs(tmp_path, parts)
    victim = sorted((source / "otter").iterdir())[1]
    content = victim.read_bytes()
    broken = {"text": b"no image", "cut": content[:500], "empty": b""}.get(damage)
    victim.write_bytes(content[:60] + bytes(40) + content[100:] if broken is None else broken)
    with pytest.raises(UserError, match=f"{victim.name} (does not decode as an image|is empty)"):
        read_cifar(source)


def test_png_of_another_size_is_named(tmp_path, parts, read_cifar):
    source = write_pngs(tmp_path, parts)
    victim = next((source / "otter").iterdir())
    Image.new("RGB", (84, 32)).save(victim)
    with pytest.raises(UserError, match=f"{victim.name} is 84x32 pixels instead of 32x32"):
        read_cifar(source)


def test_wrong_class_folders(tmp_path, parts, read_cifar):
    source = write_pngs(tmp_path, parts)
    next((source / "otter").iterdir()).unlink()
    with pytest.raises(UserError, match="2 images of otter instead of 3, and 0 other classes differ; get the original"):
        read_cifar(source)
    (source / "otter").rename(source / "others")
    with pytest.raises(UserError, match="1 of 100 classes are missing, such as otter"):
        read_cifar(source)


def test_repeated_names_do_not_depend_on_the_order(tmp_path, parts, read_cifar):
    """Every image has one name: the copies of a class are told apart by their pixels."""
    same = {name: dict(part) for name, part in parts.items()}
    for name in ("train", "test"):
        same[name]["filenames"] = ["image.png"] * len(same[name]["filenames"])
    turned = {"meta": same["meta"]}
    for name in ("train", "test"):
        part = same[name]
        turned[name] = {**part, "fine_labels": part["fine_labels"][::-1], "data": part["data"][::-1]}
    one = read_cifar(write_pickles(tmp_path / "one", same))["val"]
    other = read_cifar(write_pickles(tmp_path / "other", turned))["val"]
    assert set(one.names) == {"image.png", "image.png~2", "image.png~3"}
    first, second = by_name(one), by_name(other)
    assert all((first[key] == second[key]).all() for key in first | second)


def test_fc100_is_60_20_and_20_classes(tmp_path, parts, read_cifar):
    splits = read_cifar(write_pickles(tmp_path, parts), "FC100")
    assert [len(splits[name].classes) for name in ("train", "val", "test")] == [60, 20, 20]
    assert sorted(name for p in splits.values() for name in p.classes) == CLASSES


def test_cifar_in_folders_of_deepemd_and_lists_of_libfewshot(tmp_path, read_cifar):
    flat = write_pngs(tmp_path / "flat", make_parts())
    expected = {name: by_name(split) for name, split in read_cifar(flat).items()}
    (tmp_path / "lists" / "images").mkdir(parents=True)
    for split in SPLITS:
        lines = ["filename,label"]
        for name in LISTS[split]:
            shutil.copytree(flat / name, tmp_path / "deepemd" / f"meta-{split}" / name)
            lines += [f"{path.name},{name}" for path in (flat / name).iterdir()]
            shutil.copytree(flat / name, tmp_path / "lists" / "images", dirs_exist_ok=True)
        (tmp_path / "lists" / f"{split}.csv").write_text("\n".join(lines))
    for layout in ("deepemd", "lists"):
        images = {name: by_name(split) for name, split in read_cifar(tmp_path / layout).items()}
        for split in SPLITS:
            assert images[split].keys() == expected[split].keys()
            assert all((images[split][key] == image).all() for key, image in expected[split].items())
