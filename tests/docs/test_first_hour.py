"""The script that plays the first hour: what it takes for a fault, and (slow) that README.md has none."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import first_hour
from tests.docs.first_hour import PROMPT, Silence, script, shown, silences
from tests.docs.walk import ROOT
from tests.weights import needs_mobilenet

README = """
```
git clone URL fiveway && cd fiveway
make demo
```

```
python experiments/run_trainer.py --cfg a.yaml
```

```text
what it prints
```
"""


def test_the_commands_are_those_of_the_document_in_their_order():
    lines = [line for line in script(README, True, "", ()).splitlines() if not line.startswith("printf")]
    assert lines[0] == f"git clone {ROOT} fiveway && cd fiveway"
    assert lines[1] == "make demo"
    assert lines[2].endswith(".venv/bin/python -m tests.docs.made_up .")
    assert lines[3] == f"python experiments/run_trainer.py --cfg a.yaml {first_hour.SHORT}"
    assert len(lines) == 4


def test_commands_can_be_left_out_and_an_environment_given(tmp_path):
    text = script(README, False, str(tmp_path), ("make demo",))
    assert "make demo" not in text
    assert f"&& ln -s {tmp_path} .venv" in text
    assert text.endswith("--cfg a.yaml")


def test_a_silence_is_explained_by_the_line_before_it():
    events = [
        (0.1, f"{PROMPT}make demo\r\n", 0.5),
        (0.2, "\x1b[32mthis takes minutes\x1b[0m\n", 0.5),
        (9.2, f"{PROMPT}make test\nwait\n", 0.5),
        (16.0, "done\n", 0.5),
        (23.0, "done again\n", 1.5),
    ]
    pauses = silences(events, 5)
    assert [(pause.command, pause.line, pause.is_explained) for pause in pauses] == [
        ("make demo", "~$ make demo / this takes minutes", True),
        ("make test", "~$ make test / wait", False),
    ]
    assert not Silence("", "wait", 6).is_explained
    assert Silence("", "epoch 1 of 2, about 19 s left", 6).is_explained
    assert Silence("", "epoch 1/2:  4%|█ | 3/80 [00:02<01:10,  1.09 steps/s]", 6).is_explained


def test_a_failing_command_ends_it_and_is_seen(tmp_path):
    events = list(shown("echo one\nfalse\necho two", tmp_path))
    assert "".join(text for _, text in events).split() == ["one", "exit", "code", "1"]


def test_silence_failure_and_traceback_are_problems(tmp_path, monkeypatch, capsys):
    (tmp_path / "README.md").write_text(
        "```\nsleep 1.2\nprintf 'Traceback (most recent%s\\n' ' call last)'\necho 'a minute'; sleep 1.2\nexit 3\n```\n"
    )
    monkeypatch.setattr(first_hour, "ROOT", tmp_path)
    monkeypatch.setattr(first_hour, "machine_load", lambda: 1.0)
    problems = first_hour.play(tmp_path, False, "", (), least=1.0)
    assert problems == ["exit code 3", "a traceback", "1 s of silence after:  / ~$ sleep 1.2"]
    assert (
        "silent for 1 s in `echo 'a minute'; sleep 1.2` after: ~$ echo 'a minute'; sleep 1.2 / a minute"
        in capsys.readouterr().out
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
@needs_mobilenet
def test_the_first_hour_of_the_readme(tmp_path):
    """Without `make test`, which would run this test, and with the environment of the tests."""
    environment = Path(sys.executable).parents[1]
    command = [sys.executable, "-m", "tests.docs.first_hour", tmp_path, "--short", "--venv", environment]
    run = subprocess.run([*command, "--without", "make test"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
