import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.data import datasets as benchmarks
from core.data.datasets import BENCHMARKS, Benchmark, benchmark, is_prepared, split_folders
from core.errors import UserError
from core.prepare.cifar import read_cifar_fs
from core.prepare.collect import Options
from core.prepare.prepare import prepare
from tests.prepare.fake_cifar import LISTS, PER_CLASS, make_parts, write_pickles, write_pngs

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def parts():
    return make_parts()


@pytest.fixture
def small(monkeypatch):
    """CIFAR-FS as a benchmark of three images a class."""
    found = Benchmark("CIFAR-FS", 32, PER_CLASS, lambda: LISTS, read=lambda source: read_cifar_fs(source, PER_CLASS))
    monkeypatch.setitem(benchmarks.BENCHMARKS, "CIFAR-FS", found)
    return found


def test_prepare_writes_three_splits_once(tmp_path, parts, small):
    source = write_pickles(tmp_path, parts)
    splits = list(prepare(tmp_path / "data", small, Options((source,))))
    assert [(s.name, len(s.classes), len(s.names), s.size) for s in splits] == [
        ("train", 64, 192, 32),
        ("val", 16, 48, 32),
        ("test", 20, 60, 32),
    ]
    assert all((s.counts == PER_CLASS).all() for s in splits)
    shutil.rmtree(source)  # a second call needs no source
    again = list(prepare(tmp_path / "data", small, Options((source,))))
    assert [s.fingerprint for s in again] == [s.fingerprint for s in splits]


def test_prepare_finishes_what_was_interrupted(tmp_path, parts, small):
    source = write_pickles(tmp_path, parts)
    prepare(tmp_path / "data", small, Options((source,)))
    train, val, test = split_folders(tmp_path / "data", small)
    shutil.rmtree(val)
    shutil.rmtree(test)
    before = (train / "images.npy").stat().st_mtime_ns
    assert not is_prepared(tmp_path / "data", small)
    assert len(list(prepare(tmp_path / "data", small, Options((source,))))) == 3
    assert (train / "images.npy").stat().st_mtime_ns == before


def test_another_size(tmp_path, parts, small):
    source = write_pickles(tmp_path, parts)
    native = prepare(tmp_path / "data", small, Options((source,)))
    large = prepare(tmp_path / "data", small, Options((source,), size=64))
    assert [split.images.shape[1:] for split in large] == [(64, 64, 3)] * 3
    assert [split.fingerprint for split in large] == [split.fingerprint for split in native]
    assert large[0].manifest["preparation"]["filter"].startswith("bicubic")


def test_failed_prepare_writes_nothing(tmp_path, parts, small):
    source = write_pngs(tmp_path / "pngs", parts)
    next((source / "worm").iterdir()).write_bytes(b"")
    with pytest.raises(UserError):
        list(prepare(tmp_path / "data", small, Options((source,))))
    assert not (tmp_path / "data").exists()


def test_source_is_asked_for_or_refused(tmp_path, small):
    with pytest.raises(UserError, match="--from is missing"):
        list(prepare(tmp_path, small, Options()))
    with pytest.raises(UserError, match="Glyphs is rendered from nothing; leave --from out"):
        list(prepare(tmp_path, benchmark("glyphs"), Options((tmp_path,))))


def run_script(*arguments, cwd):
    command = [sys.executable, REPOSITORY / "experiments" / "prepare_data.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_script_prints_one_sentence(tmp_path):
    result = run_script("CIFAR-FS", "--from", tmp_path / "nothing", "--root", tmp_path / "data", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: --from is")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_real_archive(tmp_path):
    source = REPOSITORY.parent / "shared" / "data" / "cifar-100-python.tar.xz"
    if not source.is_file():
        pytest.skip(f"needs {source}")
    splits = list(prepare(tmp_path, BENCHMARKS["CIFAR-FS"], Options((source,))))
    assert [len(split.classes) for split in splits] == [64, 16, 20]
    for split in splits:
        assert split.images.shape == (600 * len(split.classes), 32, 32, 3)
        assert (split.counts == 600).all()
    mean = np.average([s.manifest["mean"] for s in splits], axis=0, weights=[64, 16, 20])
    assert np.allclose(mean, [0.5071, 0.4866, 0.4409], atol=1e-3)  # as published for the training images
