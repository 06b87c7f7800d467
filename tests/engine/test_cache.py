"""Features on disk: equal to live ones, shared between processes, bounded, and never trusted when damaged."""

import os
import subprocess
import sys

import numpy as np
import pytest

from core.engine import cache
from core.engine.cache import FeatureCache

SHAPES = {"vector": (3,), "map": (2, 2, 2)}  # 44 bytes a row
MB = 2**20


@pytest.fixture
def shelf(tmp_path):
    return lambda key="a", limit=1: FeatureCache(tmp_path / "features", {"key": key}, limit)


def fill(stored, ids, value=1.0):
    for array in stored.arrays.values():
        array[ids] = value
    stored.mark(np.array(ids))


def test_rows_come_back(shelf):
    assert shelf().open(10) is None
    fill(shelf().create(10, SHAPES), [2, 7])
    table = shelf().open(10)
    assert table.present.tolist() == [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert {name: array.shape for name, array in table.arrays.items()} == {"vector": (10, 3), "map": (10, 2, 2, 2)}
    assert (table.arrays["map"][[2, 7]] == 1).all()
    assert shelf("b").open(10) is None


def test_second_process_shares_the_first_ones_table(shelf, tmp_path):
    first = shelf().create(10, SHAPES)
    second = shelf().create(10, SHAPES)
    fill(first, [0, 1])
    fill(second, [1, 2])
    assert first.present.tolist() == second.present.tolist() == [1, 1, 1] + [0] * 7
    assert [path.name for path in (tmp_path / "features").iterdir()] == [shelf().path.name]


def test_two_processes_at_once(tmp_path):
    code = (
        "import sys, numpy as np; from pathlib import Path; from core.engine.cache import FeatureCache\n"
        "shelf = FeatureCache(Path(sys.argv[1]), {'k': 1}, 10)\n"
        "stored = shelf.open(400) or shelf.create(400, {'vector': (50,)})\n"
        "for first in range(0, 400, 20):\n"
        "    ids = np.arange(first, first + 20)\n"
        "    stored.arrays['vector'][ids] = ids[:, None]\n"
        "    stored.mark(ids)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=os.getcwd()) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    table = FeatureCache(tmp_path, {"k": 1}, 10).open(400)
    assert table.present.all()
    assert np.array_equal(table.arrays["vector"], np.arange(400, dtype=np.float32)[:, None].repeat(50, 1))


@pytest.mark.parametrize("damage", ["cut", "garbage", "missing", "rows", "type"])
def test_damaged_tables_are_made_anew(damage, shelf):
    fill(shelf().create(10, SHAPES), [0])
    file = shelf().path / "vector.npy"
    if damage == "cut":
        os.truncate(file, 150)
    elif damage == "garbage":
        file.write_bytes(b"garbage")
    elif damage == "missing":
        (shelf().path / "sums.npy").unlink()
    elif damage == "type":
        np.save(file, np.zeros((10, 3)))
    assert shelf().open(11 if damage == "rows" else 10) is None
    assert not shelf().path.exists()
    assert not shelf().create(10, SHAPES).present.any()


@pytest.mark.parametrize("file", ["vector", "map", "sums"])
def test_a_flipped_bit_makes_the_row_absent(shelf, file):
    fill(shelf().create(10, SHAPES), [2, 7])
    path = shelf().path / f"{file}.npy"
    array = np.load(path, mmap_mode="r+")
    array[7:8].reshape(-1).view(np.uint8)[1] ^= 4
    array.flush()
    table = shelf().open(10)
    assert np.flatnonzero(table.present).tolist() == [2]
    fill(table, [7])
    assert np.flatnonzero(shelf().open(10).present).tolist() == [2, 7]


def test_least_recently_used_tables_go(shelf):
    rows = MB // 4 // 44  # a quarter of a megabyte
    for age, key in enumerate("abc"):
        shelf(key).create(rows, SHAPES)
        os.utime(shelf(key).path, (age, age))
    shelf("a").open(rows)  # used just now
    shelf("d").create(2 * rows, SHAPES)
    left = {key for key in "abcd" if shelf(key).path.is_dir()}
    assert left == {"a", "d"}
    size = sum(file.stat().st_size for file in shelf().path.parent.rglob("*.npy"))
    assert size <= MB


def test_too_large_or_no_room_is_no_cache_but_no_error(shelf, monkeypatch, tmp_path):
    assert shelf().create(MB, SHAPES) is None

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "posix_fallocate", full)
    assert shelf().create(10, SHAPES) is None
    assert list((tmp_path / "features").iterdir()) == []


def test_nothing_is_pickled(shelf):
    file = shelf().path / "vector.npy"
    shelf().create(10, SHAPES)
    np.save(file, np.array([{}] * 10), allow_pickle=True)
    assert shelf().open(10) is None


def test_other_folders_beside_the_tables_stay(shelf, tmp_path):
    (tmp_path / "features" / "mine").mkdir(parents=True)
    shelf("a").create(50_000, {"vector": (3,)})
    shelf("b").create(50_000, {"vector": (3,)})
    assert sorted(path.name for path in (tmp_path / "features").iterdir()) == sorted([shelf("b").path.name, "mine"])
