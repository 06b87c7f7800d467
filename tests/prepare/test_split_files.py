import csv
import io
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.store import SPLITS
from core.errors import UserError
from core.prepare.split_files import Row, classes_of_rows, read_class_lists, read_rows, split_by_hash

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), min_size=1, max_size=8)
SOURCE = Path("photos")
CLASSES = st.lists(WORDS, min_size=6, max_size=60, unique=True)


def read(reader, content):
    """What a reader makes of a file's content."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "split"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return reader(file)


@given(CLASSES, st.integers(0, 2**40), st.randoms())
def test_split_by_hash_is_a_partition_that_no_order_changes(classes, seed, random):
    split_of = split_by_hash(classes, seed, SOURCE)
    assert split_of.keys() == set(classes)
    counts = [list(split_of.values()).count(split) for split in SPLITS]
    assert min(counts) >= 2
    assert counts[2] == max(2, round(0.2 * len(classes)))
    assert counts[1] == max(2, round(0.16 * len(classes)))
    random.shuffle(classes)
    assert split_by_hash(classes, seed, SOURCE) == split_of


def test_split_by_hash_is_what_it_was():
    """Splits made by other versions stay comparable."""
    split_of = split_by_hash([f"class{i}" for i in range(10)], 0, SOURCE)
    assert [name for name, split in split_of.items() if split == "test"] == TEST
    with pytest.raises(UserError, match="photos holds 5 classes"):
        split_by_hash(["a", "b", "c", "d", "e"], 0, SOURCE)


TEST = ["class7", "class4"]


@given(st.lists(st.tuples(WORDS, WORDS, st.sampled_from(SPLITS)), min_size=1, max_size=20), st.permutations(range(3)))
def test_csv_rows_come_back_whatever_the_column_order(rows, order):
    text = io.StringIO()
    writer = csv.writer(text)
    for cells in [("filename", "label", "split"), *rows]:
        writer.writerow([cells[place] for place in order])
    assert read(read_rows, text.getvalue()) == [Row(*cells) for cells in rows]


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_give_rows_or_one_sentence(content):
    for reader in (read_rows, read_class_lists):
        with suppress(UserError):
            read(reader, content)


@given(CLASSES)
def test_class_lists_come_back(classes):
    lists = {"train": classes[4:], "val": classes[2:4], "test": {"classes": classes[:2], "superclasses": []}}
    split_of = read(read_class_lists, json.dumps(lists))
    assert [name for name, split in split_of.items() if split == "test"] == classes[:2]
    assert split_of.keys() == set(classes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b\nx,y", "begins with 'a,b'"),
        ("filename,label\nx", "line 2 has 1 fields instead of 2"),
        ("filename,label\n,y", "line 2 lacks the file name"),
        ("filename,label\nx,", "line 2 lacks the label"),
        ("filename,label,split\nx,y,dev", "split 'dev', which is not one of"),
        ('filename,label\n"x,y', "is not a CSV file"),
        (b"filename,label\n\xff,y", "is not UTF-8"),
    ],
)
def test_wrong_csv_is_explained(content, message):
    with pytest.raises(UserError, match=message):
        read(read_rows, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "lacks train and val and test"),
        ('{"train": ["a"], "val": ["b"]}', "lacks test"),
        ('{"train": ["a"], "val": ["b"], "test": ["a"]}', "'a' in train and in test"),
        ('{"train": ["a"], "val": [1], "test": ["c"]}', "val is not a list of class names"),
        ('{"train": ["a"], "val": [], "test": ["c"]}', "val is not a list of class names"),
    ],
)
def test_wrong_class_lists_are_explained(content, message):
    with pytest.raises(UserError, match=message):
        read(read_class_lists, content)


def test_a_class_has_one_split():
    with pytest.raises(UserError, match="'c' in train and in test"):
        classes_of_rows([Row("1", "c", "train"), Row("2", "c", "test")], Path("x.csv"))
