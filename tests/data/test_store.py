import json

import numpy as np
import pytest

from core.data.store import read_outline, read_split
from core.errors import UserError
from tests.data.fake_split import fruit, write_fruit
from tests.helpers import make_split

SPLIT = make_split(4, 5, size=4)


def test_roundtrip_is_sorted_by_class_and_name(tmp_path):
    images, labels, classes, names, source = fruit()
    vectors = np.eye(3)
    folder = write_fruit(tmp_path, images, labels, classes, names, source, vectors=vectors)
    split = read_split(folder)
    assert folder == tmp_path / "Fruit" / "4px" / "val"
    assert (split.dataset, split.name, split.size) == ("Fruit", "val", 4)
    assert split.classes == ["apple", "pear", "quince"]
    assert split.counts.tolist() == [3, 2, 1]
    assert split.labels.dtype == np.int64
    assert isinstance(split.images, np.memmap)
    keys = [(split.classes[label], name) for label, name in zip(split.labels, split.names, strict=True)]
    assert keys == sorted(keys)
    expected = {(classes[label], name): image for label, name, image in zip(labels, names, images, strict=True)}
    assert all((expected[key] == image).all() for key, image in zip(keys, split.images, strict=True))
    assert split.vectors.tolist() == vectors[[1, 0, 2]].tolist()


def test_fingerprint_depends_on_names_alone(tmp_path):
    images, labels, classes, names, source = fruit()
    one = read_split(write_fruit(tmp_path / "one", images, labels, classes, names, source))
    turned = read_split(write_fruit(tmp_path / "two", images[::-1], labels[::-1], classes, names[::-1], "elsewhere"))
    larger = read_split(
        write_fruit(tmp_path / "three", np.zeros((6, 8, 8, 3), np.uint8), labels, classes, names, source)
    )
    renamed = read_split(write_fruit(tmp_path / "four", images, labels, classes, ["g", *names[1:]], source))
    assert one.fingerprint == turned.fingerprint == larger.fingerprint != renamed.fingerprint
    assert one.manifest["pixels_sha256"] == turned.manifest["pixels_sha256"] != larger.manifest["pixels_sha256"]


def test_unusual_names_survive(tmp_path):
    names = ["a b", "é", "a\u2028b", "\x85", "ö.png", "日"]
    split = read_split(write_fruit(tmp_path, *fruit()[:3], names, "nowhere"))
    assert sorted(split.names) == sorted(names)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "names", "manifest", "keys", "objects"])
def test_damaged_folder_is_one_sentence(tmp_path, damage):
    folder = write_fruit(tmp_path, *fruit())
    images = folder / "images.npy"
    if damage == "missing":
        images.unlink()
    elif damage == "empty":
        (folder / "labels.npy").write_bytes(b"")
    elif damage == "cut":
        images.write_bytes(images.read_bytes()[:-1])
    elif damage == "text":
        images.write_bytes(b"no array")
    elif damage == "names":
        (folder / "names.txt").write_text("a\nb\n")
    elif damage == "manifest":
        (folder / "manifest.json").write_text("{")
    elif damage == "keys":
        (folder / "manifest.json").write_text(json.dumps({"dataset": "Fruit"}))
    else:
        np.save(folder / "labels.npy", np.array([{}] * 6), allow_pickle=True)
    with pytest.raises(UserError, match=r"delete the folder and prepare it again\.$"):
        read_split(folder)


def test_a_subset_of_images():
    ids = np.array([0, 3, 5, 12])
    part = SPLIT.subset(ids, why="a test")
    assert part.names == [SPLIT.names[row] for row in ids]
    assert part.labels.tolist() == [0, 0, 1, 2]
    assert part.classes == SPLIT.classes
    assert part.counts.tolist() == part.manifest["counts"] == [2, 1, 1, 0]
    assert part.manifest["why"] == "a test"
    assert part.fingerprint != SPLIT.fingerprint
    assert (part.vectors == SPLIT.vectors).all()
    assert part.images is SPLIT.images
    assert (part.rows == ids).all()
    assert part.subset(np.array([1, 3])).rows.tolist() == [3, 12]


def test_a_subset_of_classes_is_numbered_anew():
    classes = [SPLIT.classes[1], SPLIT.classes[3]]
    part = SPLIT.subset(classes=classes)
    assert part.labels.tolist() == [0] * 5 + [1] * 5
    assert part.rows.tolist() == [*range(5, 10), *range(15, 20)]
    assert part.classes == part.manifest["classes"] == classes
    assert part.manifest["counts"] == [5, 5]
    assert (part.vectors == SPLIT.vectors[[1, 3]]).all()


def test_an_outline_knows_what_the_manifest_says_and_opens_nothing_else(tiny_root, monkeypatch):
    folder = tiny_root / "Glyphs" / "16px" / "test"
    whole = read_split(folder)
    monkeypatch.setattr(np, "load", None)
    outline = read_outline(folder)
    assert (outline.classes, outline.fingerprint, outline.size) == (whole.classes, whole.fingerprint, 16)
    assert outline.counts.tolist() == whole.counts.tolist()
