"""What a disk can do to a preparation: be full, be read-only, be shared with another run, lose the process."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.data import lowshot
from core.data.datasets import benchmark
from core.errors import UserError
from core.prepare.collect import Options
from core.prepare.prepare import check_prepared, prepare
from tests.prepare.fake_features import ORDER, features, small_lowshot, write_npz
from tests.prepare.fake_images import names, write_classes

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def mounted(tmp_path):
    """Mount a small tmpfs; root may write anywhere, so permissions would prove nothing."""
    folder = tmp_path / "mount"
    folder.mkdir()

    def mount(options):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"mounting a tmpfs is refused here: {done.stderr.decode().strip()}")
        return folder

    try:
        yield mount
    finally:
        subprocess.run(["umount", folder], capture_output=True, check=False)


@pytest.fixture
def photos(tmp_path):
    return write_classes(tmp_path / "photos", names(6), images=20)


def test_a_full_disk_leaves_what_was_there(mounted, photos):
    root = mounted("size=512k")
    found = benchmark(f"folder:{photos}")
    prepare(root, found, Options(size=12, workers=1))
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room"):
        prepare(root, found, Options(size=84, workers=1))
    assert [path.name for path in (root / found.name).iterdir()] == ["12px"]
    check_prepared(root, found, 12)


def test_a_read_only_root(mounted, photos):
    root = mounted("size=64k,ro")
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)"):
        prepare(root, benchmark(f"folder:{photos}"), Options(size=12))


@pytest.mark.parametrize("size", ["20k", "48k"])  # full of the copied source, full of the first split
def test_a_disk_that_features_fill(mounted, tmp_path, size, monkeypatch):
    monkeypatch.setattr(lowshot, "TRAINING_IMAGES", 12 * 60)
    monkeypatch.setattr(lowshot, "PER_CLASS", 4)
    files = write_npz(tmp_path, features(ORDER, 60), features(ORDER, 4))
    root = mounted(f"size={size}")
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room"):
        prepare(root, small_lowshot(), Options(files, class_ids="label_names"))
    assert list(root.iterdir()) == []


def start(photos, root):
    command = [sys.executable, REPOSITORY / "experiments" / "prepare_data.py", f"folder:{photos}", "--root", root]
    return subprocess.Popen([*command, "--size", "12"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_at_once_agree(tmp_path, photos):
    runs = [start(photos, tmp_path / "data") for _ in range(2)]
    printed = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    found = benchmark(f"folder:{photos}")
    check_prepared(tmp_path / "data", found, 12)
    assert sorted(path.name for path in (tmp_path / "data" / found.name / "12px").iterdir()) == ["test", "train", "val"]


def test_a_killed_run_leaves_nothing_that_looks_finished(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6), images=100)
    root, found = tmp_path / "data", benchmark(f"folder:{photos}")
    run = start(photos, root)
    while run.poll() is None and not list(root.glob("*/12px/.train-*/images.npy")):
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert not (root / found.name / "12px" / "val").exists()
    prepare(root, found, Options(size=12, workers=1))
    check_prepared(root, found, 12)
