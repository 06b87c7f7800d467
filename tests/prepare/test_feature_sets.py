"""A file of features of one's own as a data set: who its classes are and how they are split."""

import json

import numpy as np
import pytest

from core.data.datasets import dataset
from core.data.store import read_split
from core.errors import UserError
from core.files import sha256
from core.prepare.collect import Options
from core.prepare.prepare import check_prepared, prepare
from core.prepare.sources import source
from tests.prepare.test_feature_files import write_h5

CLASSES = ["apple", "bowl", "cup", "dish", "egg", "fork"]
SPLIT = ["train", "train", "val", "base", "novel", "test"]
ROWS = 4  # of each class


def arrays(**change):
    """Features around the number of their class, in mixed order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(CLASSES)), ROWS))
    features = labels[:, None] + np.random.default_rng(1).uniform(0, 0.5, (len(labels), 3))
    return {"features": features.astype(np.float32), "labels": labels, "classes": np.array(CLASSES)} | change


def prepared(tmp_path, arrays, save=np.savez, name="mine.npz", **options):
    save(tmp_path / name, **arrays)
    return prepare(tmp_path / "data", source(f"features:{tmp_path / name}"), Options(workers=1, **options))


@pytest.mark.parametrize(("save", "name"), [(np.savez, "mine.npz"), (np.savez_compressed, "m.npz"), (write_h5, "m.h5")])
def test_a_file_says_its_classes_and_their_splits(tmp_path, save, name):
    splits = prepared(tmp_path, arrays(splits=np.array(SPLIT)), save, name)
    assert [split.classes for split in splits] == [["apple", "bowl", "dish"], ["cup"], ["egg", "fork"]]
    for split in splits:
        expected = [CLASSES.index(split.classes[label]) for label in split.labels]
        assert np.floor(split.images[:, 0]).astype(int).tolist() == expected
        assert (split.features, split.counts.tolist()) == (3, [ROWS] * len(split.classes))
        assert split.manifest["split_by"] == "the file"
    named = dataset(f"features:{tmp_path / name}")
    check_prepared(tmp_path / "data", named)
    assert named.name.startswith(f"features-{name}-")


def test_a_split_may_be_named_for_every_row(tmp_path):
    labels = arrays()["labels"]
    splits = prepared(tmp_path, arrays(split=np.array(SPLIT)[labels]))
    assert [len(split.classes) for split in splits] == [3, 1, 2]
    mixed = np.array(SPLIT)[labels]
    mixed[np.flatnonzero(labels == 0)[0]] = "test"
    with pytest.raises(UserError, match=r"has class 'apple' in test and in train: splits of few-shot learning part"):
        prepared(tmp_path, arrays(split=mixed), name="mixed.npz")


def test_classes_without_splits_are_split_by_hash_or_by_a_json_file(tmp_path):
    splits = prepared(tmp_path, arrays())
    assert [len(split.classes) for split in splits] == [2, 2, 2]
    lists = {"train": CLASSES[:2], "val": CLASSES[2:4], "test": CLASSES[4:]}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    named = (tmp_path / "split.json",)
    splits = prepared(tmp_path, arrays(), name="listed.npz", sources=named)
    assert {split.name: split.classes for split in splits} == lists
    with pytest.raises(UserError, match=r"--from names '.*\.npz', but .* holds the features"):
        prepared(tmp_path, arrays(), name="third.npz", sources=(tmp_path / "mine.npz",))


def test_labels_may_be_names_or_bare_numbers(tmp_path):
    words = arrays()
    words["labels"] = words.pop("classes")[words["labels"]]
    splits = prepared(tmp_path, words)
    assert sorted(name for split in splits for name in split.classes) == CLASSES
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "words.h5", "w") as file:
        file["features"], file["labels"] = words["features"], words["labels"].astype(object)
    same = prepare(tmp_path / "data", source(f"features:{tmp_path}/words.h5"), Options())
    assert [split.classes for split in same] == [split.classes for split in splits]
    numbers = arrays()
    del numbers["classes"]
    numbers["labels"] = numbers["labels"] * 2 + 1  # of 12 classes, half have no row
    splits = prepared(tmp_path, numbers, name="numbers.npz")
    assert sorted(name for split in splits for name in split.classes) == ["01", "03", "05", "07", "09", "11"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"splits": np.array(["train"] * 3)}, "names 3 splits for 6 classes and 24 rows"),
        (
            {"splits": np.array([*SPLIT[:-1], "spare"])},
            "names the split 'spare', which is not one of: train, val, test",
        ),
        ({"splits": np.array(["train"] * 3 + ["test"] * 3)}, "none for val; add them, or name no splits at all"),
        ({"classes": np.array(["a"] * 6)}, "has two classes called 'a'"),
        ({"labels": np.array(CLASSES).repeat(4)}, "holds names in labels and in classes; keep one of the two"),
        ({"features": np.ones((24, 3), int)}, r"holds features \[24, 3\] of int64"),
        ({"labels": np.array([{}] * 24)}, "cannot be read as features"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, arrays(**change))
    assert not list((tmp_path / "data").glob("features-*/features/*"))


def test_links_and_references_in_hdf5_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    write_h5(tmp_path / "sound.h5", **arrays())
    for name, link in (("labels", h5py.ExternalLink("sound.h5", "labels")), ("labels", h5py.SoftLink("/classes"))):
        with h5py.File(tmp_path / "linked.h5", "w") as file:
            file["features"], file[name] = arrays()["features"], link
        with pytest.raises(UserError, match="labels is a link"):
            prepare(tmp_path / "data", source(f"features:{tmp_path}/linked.h5"), Options())
    with h5py.File(tmp_path / "references.h5", "w") as file:
        file["features"], file["labels"] = arrays()["features"], arrays()["labels"]
        file["classes"] = np.array([file["features"].ref] * 6, dtype=h5py.ref_dtype)
    with pytest.raises(UserError, match="it holds references"):
        prepare(tmp_path / "data", source(f"features:{tmp_path}/references.h5"), Options())


def test_names_of_data_sets_of_features(tmp_path):
    with pytest.raises(UserError, match=r"'.*none.npz' cannot be read \(No such file"):
        prepare(tmp_path / "data", source(f"features:{tmp_path}/none.npz"), Options())
    with pytest.raises(UserError, match=r"NAME is 'features:CIFAR-FS', features that .* writes; of a file of yours"):
        source("features:CIFAR-FS")
    with pytest.raises(UserError, match=r"--size is 32, but features-mine\.npz-"):
        prepared(tmp_path, arrays(), size=32)
    with pytest.raises(UserError, match="--class-ids is sorted, which is for ImageNet-LowShot"):
        prepared(tmp_path, arrays(), class_ids="sorted")


def test_the_manifest_says_what_the_network_has_learned_from(tmp_path):
    def noted(name, **options):
        return [split.manifest.get("external_data") for split in prepared(tmp_path, arrays(), name=name, **options)]

    assert [note["data"] for note in noted("unknown.npz")] == ["data not known"] * 3
    for note in noted("mine.npz", learned_from="LVD-142M"):
        assert (note["weights"], note["data"]) == ("the network behind mine.npz", "LVD-142M")
        assert note["sha256"] == sha256(tmp_path / "mine.npz")
    assert noted("base.npz", learned_from="base classes") == [None] * 3
    assert noted("mine.npz", learned_from="LVD-142M") == noted("mine.npz")
    with pytest.raises(UserError, match=r"--learned-from is base classes, but features-mine.* with LVD-142M; leave"):
        prepared(tmp_path, arrays(), learned_from="base classes")
    with pytest.raises(UserError, match=r"--learned-from is LVD-142M, but features-base.* with base classes"):
        prepared(tmp_path, arrays(), name="base.npz", learned_from="LVD-142M")
    with pytest.raises(UserError, match="--learned-from is 'x', which is for features:FILE, but NAME is Glyphs; leave"):
        prepare(tmp_path / "data", source("Glyphs"), Options(learned_from="x"))


def test_a_damaged_note_on_external_data_is_a_sentence(tmp_path):
    prepared(tmp_path, arrays())
    (file,) = (tmp_path / "data").glob("features-*/features/train/manifest.json")
    manifest = json.loads(file.read_text())
    del manifest["external_data"]["licence"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="does not hold a complete packed split"):
        read_split(file.parent)
