import builtins
import zipfile

import numpy as np
import pytest

from core.errors import UserError
from core.prepare.feature_files import ROWS, read_features
from tests.prepare.fake_features import features

ORDER = [f"n{i:02d}" for i in range(1, 6)]


def table(tmp_path, arrays, save=np.savez, name="f.npz"):
    save(tmp_path / name, **arrays)
    return read_features(tmp_path / name, tmp_path / "raw")


def write_h5(path, **arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            text = value.dtype.kind == "U"
            chunks = {"chunks": True, "compression": "gzip"} if value.ndim == 2 else {}
            file.create_dataset(name, data=value.astype("S") if text else value, **chunks)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, write_h5])
def test_rows_come_back_in_any_order(tmp_path, save, dtype):
    arrays = features(ORDER, 2 * ROWS // 5, dtype=dtype)
    count = len(arrays["all_labels"]) - 7  # the rest is not filled
    rows = table(tmp_path, arrays | {"count": np.array([count])}, save)
    assert rows.dtype == (np.float16 if dtype == np.float16 else np.float32)
    assert (rows.labels == arrays["all_labels"][:count]).all()
    order = np.random.default_rng(0).permutation(count)
    assert (rows.rows(order) == arrays["all_features"][order].astype(rows.dtype)).all()
    assert (rows.rows(np.arange(3, 90)) == arrays["all_features"][3:90].astype(rows.dtype)).all()


@pytest.mark.parametrize("save", [np.savez, write_h5])
def test_saved_features_name_their_classes(tmp_path, save):
    arrays = {"vector": np.eye(3, dtype=np.float32), "label": np.array([0, 1, 1]), "class": np.array(["é", "b"])}
    if save is write_h5:
        arrays["class"] = np.array(["e", "b"])
    assert table(tmp_path, arrays, save).classes == arrays["class"].tolist()


NAN = np.zeros((3, 2), np.float32)
NAN[1, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"all_features": np.zeros((3, 2), int)}, r"all_features \[3, 2\] of int64"),
        ({"all_features": np.zeros(3)}, r"should be \[N, D\] of floats"),
        ({"all_features": np.zeros((0, 2)), "all_labels": np.zeros(0, int)}, r"should be \[N, D\]"),
        ({"all_labels": np.zeros(2, int)}, r"all_labels \[2\]"),
        ({"all_labels": np.zeros(3)}, "of float64; they"),
        ({"all_labels": np.array([0, -1, 0])}, "labels from -1"),
        ({"classes": np.array(["a"])}, "labels from 0 to 2, which no class has"),
        ({"count": np.array([4])}, "count 4, but 3 rows"),
        ({"all_features": NAN}, "row 1 is not finite"),
        ({"all_features": np.full((3, 2), 1e300)}, "row 0 is not finite"),
        ({"all_features": np.array([[{}]] * 3)}, "cannot be read as features"),
        ({"all_features": np.asfortranarray(np.zeros((3, 2)))}, "stored column by column"),
    ],
)
def test_wrong_files_are_explained(tmp_path, change, message):
    sound = {"all_features": np.zeros((3, 2), np.float32), "all_labels": np.arange(3)}
    with pytest.raises(UserError, match=message):
        table(tmp_path, sound | change)


def test_files_that_are_something_else(tmp_path):
    with pytest.raises(UserError, match=r"holds other; features are all_features or"):
        table(tmp_path, {"other": np.zeros(3)})
    (tmp_path / "text").write_text("no features here")
    with pytest.raises(UserError, match="neither HDF5 nor"):
        read_features(tmp_path / "text", tmp_path / "raw")
    with pytest.raises(UserError, match="cannot be read"):
        read_features(tmp_path / "nothing", tmp_path / "raw")


@pytest.mark.parametrize("save", [np.savez, write_h5])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated(tmp_path, save, share):
    save(tmp_path / "whole.npz", **features(ORDER, 400))
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="cannot be read as features, perhaps cut short"):
        read_features(tmp_path / "cut.npz", tmp_path / "raw")


def test_an_array_shorter_than_its_header_says(tmp_path):
    np.savez(tmp_path / "f.npz", **features(ORDER, 4))
    with zipfile.ZipFile(tmp_path / "f.npz") as whole, zipfile.ZipFile(tmp_path / "short.npz", "w") as short:
        for name in whole.namelist():
            short.writestr(name, whole.read(name)[:-40] if name.startswith("all_f") else whole.read(name))
    with pytest.raises(UserError, match="cannot be read as features"):
        read_features(tmp_path / "short.npz", tmp_path / "raw")


def test_h5py_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "f.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    imported = builtins.__import__

    def without(name, *arguments, **options):
        if name == "h5py":
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="run `pip install h5py`"):
        read_features(tmp_path / "f.h5", tmp_path / "raw")
