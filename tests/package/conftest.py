"""FiveWay as a user installs it: a wheel, a clean environment, a folder far from the checkout."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT_FROM = ("core", "configs", "setup.py", "pyproject.toml", "README.md", "LICENSE")
# Written to the standard error output of every command of the environment that imported a module called core.
WATCH = """\
import atexit, sys
@atexit.register
def watch():
    names = [name for name in sys.modules if name.partition(".")[0] == "core"]
    if names:
        print("imported", names, file=sys.stderr)
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the files it is made of, so that the checkout stays as it is."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in [*BUILT_FROM, *(file.name for file in ROOT.glob("requirements*.txt"))]:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "data/splits", source / "data/splits")
    for file in (ROOT / "data").glob("class_vectors*"):
        shutil.copy(file, source / "data")
    _pip("wheel", source, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def environment(wheel, tmp_path_factory):
    """A new environment that holds the wheel, and finds what it depends on in the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    _pip("--python", folder, "install", "--no-deps", "--no-index", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    dependencies = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies))
    (packages / "sitecustomize.py").write_text(WATCH)
    return folder


@pytest.fixture
def run(environment, tmp_path):
    """Run a program of the environment in a folder of its own; returns what it printed. It must not fail or warn."""

    def run(program, *arguments):
        result = subprocess.run(
            [environment / "bin" / program, *map(str, arguments)],
            cwd=tmp_path,
            env={"PATH": os.defpath, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, ""), result.stdout
        return result.stdout

    return run


def _pip(*arguments):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
