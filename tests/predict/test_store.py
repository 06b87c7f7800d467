"""Features on disk come back as they were, and what is damaged is made anew."""

import torch

from core.predict.store import FeatureStore, default_folder, stacked


def row(value):
    return {"vector": torch.full((1, 3), float(value))}


def test_features_come_back(tmp_path):
    FeatureStore(tmp_path, {"a": 1}).add(["x", "y"], {"vector": torch.arange(6.0).view(2, 3)})
    again = FeatureStore(tmp_path, {"a": 1})
    assert torch.equal(stacked([again.get("y"), again.get("x")])["vector"], torch.tensor([[3.0, 4, 5], [0, 1, 2]]))
    assert again.get("z") is None


def test_another_encoder_has_other_features_and_no_folder_keeps_none(tmp_path):
    FeatureStore(tmp_path, {"a": 1}).add(["x"], row(1))
    assert FeatureStore(tmp_path, {"a": 2}).get("x") is None
    forgetful = FeatureStore(None, {"a": 1})
    forgetful.add(["x"], row(2))
    assert forgetful.get("x") is not None
    assert FeatureStore(None, {"a": 1}).get("x") is None


def test_a_damaged_file_is_removed(tmp_path):
    store = FeatureStore(tmp_path, {})
    store.add(["x"], row(1))
    (file,) = store.folder.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert FeatureStore(tmp_path, {}).get("x") is None
    assert not file.exists()


def test_the_oldest_files_go_first(tmp_path):
    import os

    for number in range(4):
        store = FeatureStore(tmp_path, {"n": number})
        store._limit = 800
        store.add(["x"], {"vector": torch.zeros(1, 50)})  # 200 bytes and a header
        for file in store.folder.glob("*"):
            os.utime(file, (number, number))
    left = [number for number in range(4) if FeatureStore(tmp_path, {"n": number}).get("x") is not None]
    assert left
    assert left == list(range(4 - len(left), 4))
    assert len(left) < 4


def test_a_disk_that_refuses_costs_the_cache_alone(tmp_path):
    (tmp_path / "file").touch()
    store = FeatureStore(tmp_path / "file" / "below", {})
    store.add(["x"], row(1))
    assert store.get("x") is not None


def test_the_default_is_the_users_cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(default_folder()) == "/somewhere/fiveway"


def test_a_flipped_bit_is_noticed(tmp_path):
    store = FeatureStore(tmp_path, {})
    store.add(["x"], row(1))
    (file,) = store.folder.iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert FeatureStore(tmp_path, {}).get("x") is None
    assert not file.exists()
