"""What every command shares."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import core.cli.train  # noqa: F401  # whose main a test replaces
from core.cli import main as console
from core.cli.common import run_script

ROOT = Path(__file__).resolve().parents[2]
COMMAND_LINES = [
    ["run_trainer.py", "--cfg", "x.yaml"],
    ["run_evaluator.py", "--cfg", "x.yaml", "--untrained"],
    ["run_compare.py", "one", "two"],
    ["run_analysis.py", "margin", "--cfg", "x.yaml", "--margins", "0"],
    ["prepare_data.py", "--list"],
    ["run_suite.py", "x.yaml"],
]


@pytest.mark.parametrize("line", COMMAND_LINES, ids=lambda line: line[0])
def test_a_script_without_the_environment_answers_in_one_sentence(line):
    bare = [sys.executable, "-I", "-S"]  # Python without the packages of any environment
    run = subprocess.run([*bare, ROOT / "experiments" / line[0], *line[1:]], capture_output=True, text=True)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1, run.stderr
    assert "is not installed for" in run.stderr
    assert "source .venv/bin/activate" in run.stderr or "make demo" in run.stderr


@pytest.mark.parametrize("start", [lambda: run_script("train"), console.run], ids=["script", "fiveway"])
def test_a_package_that_a_users_file_lacks(start, tmp_path, monkeypatch, capsys):
    file = tmp_path / "lacking_.py"
    file.write_text("def forward():\n    import no_such_\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lacking_", raising=False)
    monkeypatch.setattr("core.cli.train.main", lambda *_: importlib.import_module("lacking_").forward())
    monkeypatch.setattr(sys, "argv", ["fiveway", "train"])
    with pytest.raises(SystemExit) as stop:
        start()
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said == f"error: {file} line 2 imports no_such_, which is not installed; install it with pip.\n"


def test_make_says_how_to_activate():
    run = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert "source .venv/bin/activate" in run.stdout
