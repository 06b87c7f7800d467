import json

import numpy as np
import pytest

from core.data import store
from core.data.store import prepared, read_split, split_dir, write_split
from core.errors import UserError

CLASSES = ["pear", "apple", "quince"]


def make(seed=0, size=4):
    """Images, labels and names of three classes in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation([0, 0, 1, 1, 1, 2])
    images = rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8)
    return images, labels, CLASSES, ["f", "b", "d", "a", "c", "e"], "nowhere"


def write(root, *arguments, **options):
    folder = split_dir(root, "Fruit", 4, "val")
    write_split(folder, "Fruit", *arguments, **options)
    return folder


def test_roundtrip_is_sorted_by_class_and_name(tmp_path):
    images, labels, classes, names, source = make()
    vectors = np.eye(3)
    folder = write(tmp_path, images, labels, classes, names, source, vectors=vectors)
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


def test_manifest_statistics(tmp_path):
    images = make()[0]
    manifest = read_split(write(tmp_path, *make())).manifest
    assert np.allclose(manifest["mean"], (images / 255).mean((0, 1, 2)), atol=1e-6)
    assert np.allclose(manifest["std"], (images / 255).std((0, 1, 2)), atol=1e-6)
    assert manifest["counts"] == [3, 2, 1]
    assert manifest["source"] == "nowhere"


def test_fingerprint_depends_on_names_alone(tmp_path):
    images, labels, classes, names, source = make()
    one = read_split(write(tmp_path / "one", images, labels, classes, names, source))
    turned = read_split(write(tmp_path / "two", images[::-1], labels[::-1], classes, names[::-1], "elsewhere"))
    larger = read_split(write(tmp_path / "three", np.zeros((6, 8, 8, 3), np.uint8), labels, classes, names, source))
    renamed = read_split(write(tmp_path / "four", images, labels, classes, ["g", *names[1:]], source))
    assert one.fingerprint == turned.fingerprint == larger.fingerprint != renamed.fingerprint
    assert one.manifest["pixels_sha256"] == turned.manifest["pixels_sha256"] != larger.manifest["pixels_sha256"]


def test_unusual_names_survive(tmp_path):
    names = ["a b", "é", "a\u2028b", "\x85", "ö.png", "日"]
    split = read_split(write(tmp_path, *make()[:3], names, "nowhere"))
    assert sorted(split.names) == sorted(names)


def test_repeated_names_are_our_bug(tmp_path):
    with pytest.raises(ValueError, match="repeat"):
        write(tmp_path, *make()[:3], ["same"] * 6, "nowhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_leaves_nothing_behind(tmp_path, monkeypatch, error):
    save = np.save

    def fail(path, array):
        if path.name == "labels.npy":
            raise error
        save(path, array)

    monkeypatch.setattr(store.np, "save", fail)
    with pytest.raises((UserError, KeyboardInterrupt), match=r"No space left|^$"):
        write(tmp_path, *make())
    folder = split_dir(tmp_path, "Fruit", 4, "val")
    assert not prepared([folder])
    assert not list(tmp_path.iterdir())


def test_second_writer_keeps_the_first_result(tmp_path):
    folder = write(tmp_path, *make())
    first = read_split(folder).manifest
    write(tmp_path, *make(seed=1))
    assert read_split(folder).manifest == first
    assert [entry.name for entry in folder.parent.iterdir()] == ["val"]


def test_incomplete_folder_in_the_way(tmp_path):
    folder = write(tmp_path, *make())
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="delete the folder and prepare it again"):
        write(tmp_path, *make())


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "names", "manifest", "keys", "objects"])
def test_damaged_folder_is_one_sentence(tmp_path, damage):
    folder = write(tmp_path, *make())
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
