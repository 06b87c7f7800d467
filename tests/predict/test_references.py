"""Which reference speaks for a task, and what is said where none does."""

import json
from dataclasses import replace

import pytest
import torch

from core.build.data import Data
from core.errors import UserError
from core.predict import references
from core.predict.calibration import Calibration
from core.predict.classifier import make_classifier
from core.predict.references import from_pool, pool_of_photos, reference_for, shipped, shots_of
from core.predict.sources import from_checkpoint
from tests.predict.photos import network, supports_of, write_classes
from tests.predict.test_trust import calibration

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    return network()


@pytest.fixture
def folder(tmp_path):
    return write_classes(tmp_path / "others", {f"kind{i}": 8 + i for i in range(4)})


def test_unequal_numbers_have_their_harmonic_mean():
    assert [shots_of(counts) for counts in ([5, 5], [1, 1, 1], [1, 9], [3, 6, 6])] == [5, 1, 2, 4]


def test_a_folder_of_other_photos_is_a_reference(encoder, folder, tmp_path):
    classifier = make_classifier(encoder, supports_of(encoder, [2, 2, 2]))
    store = encoder.store(tmp_path / "cache")
    reference = reference_for(classifier, str(folder), None, store)
    assert isinstance(reference, Calibration)
    assert (reference.way, reference.shot, sorted(reference.lines)) == (3, 2, [2, 3])
    assert reference.source == f"4 classes in {folder}"
    pool = pool_of_photos(encoder, folder, store)
    assert pool.counts == [8, 9, 10, 11]
    assert len(pool.places) == 38


def test_it_is_kept_beside_the_features(encoder, folder, tmp_path, monkeypatch):
    classifier = make_classifier(encoder, supports_of(encoder, [2, 2, 2]))
    store = encoder.store(tmp_path / "cache")
    first = reference_for(classifier, str(folder), None, store)
    monkeypatch.setattr(references, "calibrate", None)
    assert reference_for(classifier, str(folder), None, store) == first


def test_too_small_a_reference_is_a_reason(encoder, folder, tmp_path):
    store = encoder.store(None)
    pool = pool_of_photos(encoder, folder, store)
    five = make_classifier(encoder, supports_of(encoder, [2] * 5))
    assert "has fewer classes than yours (5)" in from_pool(five, pool, store)
    many = make_classifier(encoder, supports_of(encoder, [4, 4]))
    assert "has a class of 8 images, too few beside 4 supports" in from_pool(many, pool, store)


def test_the_val_split_of_a_checkpoint_is_its_reference(trained, tmp_path):
    net, data = from_checkpoint(str(trained[0]), trained[1], [], CPU, None)
    classifier = make_classifier(net, supports_of(net, [2, 2]))
    reference = reference_for(classifier, None, data, net.store(tmp_path / "cache"))
    assert isinstance(data, Data)
    assert reference.source == "6 val classes of Glyphs"
    assert sorted(reference.lines) == [2, 3, 5]


def test_methods_that_adapt_the_network_have_none():
    encoder = network("MAML")
    classifier = make_classifier(encoder, supports_of(encoder, [1] * 5))
    assert "MAML adapts the network to every task" in reference_for(classifier, None, None, encoder.store(None))
    assert reference_for(classifier, "", None, encoder.store(None)) == "no reference was asked for"


def test_what_is_shipped_is_taken_at_the_nearest_way_and_shot(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(references, "SHIPPED", tmp_path)
    assert "no reference comes with FiveWay for this encoder" in shipped(encoder, "RFS", 3, 3)
    tables = [replace(calibration(shot=shot), way=way).as_dict() for way in (3, 6) for shot in (2, 3, 5)]
    content = {"sha256": encoder.origin["sha256"], "image_size": encoder.image_size, "heads": {"RFS": tables}}
    (tmp_path / "one.json").write_text(json.dumps(content))
    reference = shipped(encoder, "RFS", 8, 4)
    assert (reference.way, reference.shot) == (6, 5)
    assert "no reference of DN4 comes with FiveWay (RFS have one)" in shipped(encoder, "DN4", 3, 3)
    assert shipped(encoder, "RFS", 9, 3).way == 6
    assert shipped(encoder, "RFS", 10, 3) == (
        "the reference that comes with FiveWay is of 6 classes at most; --reference DIR takes another"
    )
    other = replace(encoder, image_size=84)
    assert "no reference comes with FiveWay" in shipped(other, "RFS", 3, 3)


def test_a_method_that_adapts_the_network_has_none_and_says_why(folder):
    encoder = network("PMF")
    classifier = make_classifier(encoder, supports_of(encoder, [2, 2, 2]))
    reason = "PMF adapts the network to every task, which is too slow for reference episodes"
    assert reference_for(classifier, str(folder), None, encoder.store(None)) == reason
    assert reference_for(classifier, None, None, encoder.store(None)) == reason


def test_what_comes_along_speaks_for_the_heads_of_frozen_encoders():
    content = json.loads((references.SHIPPED / "mobilenet_v2_groceries.json").read_text())
    assert content["heads"].keys() == {"RFS", "SimpleShot", "Ridge", "TipAdapter"}
    for name, tables in content["heads"].items():
        ways = {way: {t["shot"] for t in tables if t["way"] == way} for way in {t["way"] for t in tables}}
        assert {2, 3, 4, 6, 8} <= ways.keys(), name
        assert all(shots == {1, 2, 3, 5, 10} for way, shots in ways.items() if way <= 8), name


def test_another_pool_or_other_base_means_are_not_answered_from_the_cache(encoder, folder, tmp_path):
    classifier = make_classifier(encoder, supports_of(encoder, [2, 2, 2]))
    store = encoder.store(tmp_path / "cache")
    pool = pool_of_photos(encoder, folder, store)
    moved = replace(pool, counts=[11, 10, 9, 8])  # the same photos in the same order, but in other folders
    words = replace(pool, words=torch.zeros(4, 3))
    based = replace(classifier, base={"vector": torch.ones(1, 3)})
    for one, of in ((classifier, pool), (classifier, moved), (classifier, words), (based, pool)):
        from_pool(one, of, store)
    assert len(list(store.folder.glob("reference-*.json"))) == 4
    assert from_pool(classifier, moved, store) != from_pool(classifier, pool, store)


def test_a_reference_without_a_usable_photo_is_refused(encoder, folder):
    for photo in folder.glob("*/*.png"):
        photo.write_bytes(photo.parent.name.encode())
    classifier = make_classifier(encoder, supports_of(encoder, [2, 2]))
    with pytest.raises(UserError, match=r"no photo can be used \(kind0/00.png does not decode"):
        reference_for(classifier, str(folder), None, encoder.store(None))
