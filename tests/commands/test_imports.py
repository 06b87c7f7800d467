"""A command starts about as fast as PyTorch: what only some commands need is imported where it is needed."""

import subprocess
import sys

import pytest

from core.paths import ROOT, SCRIPTS

SLOW = {"cv2", "h5py", "matplotlib", "numba", "pyarrow", "scipy", "sklearn", "sympy", "tensorboard", "torchvision"}
LIST = "import sys; print('\\nmodules', *{name.partition('.')[0] for name in sys.modules})"


def imported(code):
    """Top-level modules that are there after some code has run in a new process."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LIST}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(ran.stdout.rsplit("modules", 1)[-1].split())


def test_the_commands_import_nothing_slow_but_torch():
    modules = imported("import core.commands")
    assert "torch" in modules
    assert modules & SLOW == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_imports_nothing_slow(name):
    help_and_stop = f"try:\n    {name}.main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0"
    modules = imported(f"from core.cli import {name}\n{help_and_stop}")
    assert modules & SLOW == set()
    assert name == "evaluate" or "torch" not in modules  # the protocols of run_evaluator.py bring their options
