"""The command that prepares data, as a user starts it; two at once, and one that is killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.data.datasets import dataset
from core.prepare.collect import Options
from core.prepare.prepare import check_prepared, prepare
from core.prepare.sources import source
from tests.prepare.fake_images import names, write_classes

REPOSITORY = Path(__file__).resolve().parents[2]


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


def test_script_prepares_checks_and_lists(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6))
    arguments = (f"folder:{photos}", "--root", tmp_path / "data", "--size", "12")
    first, second, check = (run_script(*arguments, *more, cwd=tmp_path) for more in ((), (), ("--check",)))
    assert [run.returncode for run in (first, second, check)] == [0, 0, 0], first.stderr + second.stderr + check.stderr
    assert "images/s" in first.stdout
    assert "nothing was read or written" in second.stdout
    assert "is as it was written" in check.stdout
    listed = run_script("--list", "--root", tmp_path / "data", cwd=tmp_path).stdout.splitlines()
    (line,) = (line for line in listed if line.startswith("folder-photos-"))
    assert line.split()[1:6] == ["2/2/2", "18", "12", "px", "yes"]
    assert line.endswith(f"folder:{photos}")
    (drive,) = (line for line in listed if " tiered-imagenet.tar " in line)
    assert "download by hand, then --from tiered-imagenet.tar (Ren et al.; 12.9 GB, md5 e07e811b" in drive


@pytest.fixture
def photos(tmp_path):
    return write_classes(tmp_path / "photos", names(6), images=20)


def start(photos, root):
    command = [sys.executable, REPOSITORY / "experiments" / "prepare_data.py", f"folder:{photos}", "--root", root]
    return subprocess.Popen([*command, "--size", "12"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_at_once_agree(tmp_path, photos):
    runs = [start(photos, tmp_path / "data") for _ in range(2)]
    printed = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    photo_set = dataset(f"folder:{photos}")
    check_prepared(tmp_path / "data", photo_set, 12)
    assert sorted(path.name for path in (tmp_path / "data" / photo_set.name / "12px").iterdir()) == [
        "test",
        "train",
        "val",
    ]


def test_a_killed_run_leaves_nothing_that_looks_finished(tmp_path):
    photos = write_classes(tmp_path / "photos", names(6), images=100)
    root, photo_set = tmp_path / "data", source(f"folder:{photos}")
    run = start(photos, root)
    while run.poll() is None and not list(root.glob("*/12px/.train-*/images.npy")):
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert not (root / photo_set.dataset.name / "12px" / "val").exists()
    prepare(root, photo_set, Options(size=12, workers=1))
    check_prepared(root, photo_set.dataset, 12)


def test_script_lists_what_there_is(tmp_path):
    result = run_script("--list", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["name", "classes", "images", "size", "prepared", "where", "to", "get", "it"]
    assert ["CIFAR-FS", "64/16/20", "60000", "32", "px", "no"] in [row[:6] for row in rows]
